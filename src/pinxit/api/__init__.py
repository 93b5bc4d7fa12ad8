"""The Python interface, which `import pinxit` offers: the words of the command line."""

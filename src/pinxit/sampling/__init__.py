"""From seeds, images and latents to images: what every command, page and server uses."""

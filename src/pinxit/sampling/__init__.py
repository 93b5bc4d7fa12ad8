"""From seeds, images and latents to images: shared by the commands, the reports and the server."""

"""From seeds, pictures and latents to pictures: what every command, page and server uses."""

"""The deploy API: what may be asked (`api`), how endings count (`endings`), how fast (`pacing`), and over what (`client`)."""

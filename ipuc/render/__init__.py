"""Pictures of a program: data (scene), then geometry (place), then pixels (paint)."""

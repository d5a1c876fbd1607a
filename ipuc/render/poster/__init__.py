"""The page round a picture: labels, leaders, legend, caption, insets; as pixels or as SVG."""

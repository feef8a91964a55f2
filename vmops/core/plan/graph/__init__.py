"""The topology as a picture, and as text for programs that draw."""

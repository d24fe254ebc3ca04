"""Recorded traffic, published again through the real producer."""

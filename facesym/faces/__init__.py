"""From a photo to aligned faces and back: load, detect, align, landmarks, paste."""

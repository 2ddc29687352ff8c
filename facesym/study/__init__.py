"""`facesym study`: established measures of facial asymmetry over a folder of photos, as tables and a report."""

PUPILLARY_DISTANCES = 40, 85  # millimetres: the range of adults

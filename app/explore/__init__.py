"""The prevalence explorer: how often, where, since when, and by whom tested, over what the reader may see."""

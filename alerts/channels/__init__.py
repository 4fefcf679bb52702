"""The ways out, one file each: the only network code of this package."""

"""What labels mean and which substances are one: decisions of analysts, each an event with a reason and an undo."""

"""What an operator does to the whole installation: back it up, restore it, examine it, erase what the law says must go."""

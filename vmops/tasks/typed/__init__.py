"""What a person typed: the program, its words, and the ones that were probably meant."""

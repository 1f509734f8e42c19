"""How far a world model is from the law, in metres and seconds, with the error of the ruler beside it."""

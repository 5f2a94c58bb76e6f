"""What to do next: the best size for a budget, and whether one arm is better than another, by how much compute."""

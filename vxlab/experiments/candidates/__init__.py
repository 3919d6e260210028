"""What is said of a sweep's candidates beside each other: pairs, rivals, the front, the verdict."""

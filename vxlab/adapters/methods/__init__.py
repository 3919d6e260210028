"""Every method by its name, vxlab's and those that users register."""

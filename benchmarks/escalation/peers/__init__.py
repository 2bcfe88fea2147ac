"""What others accept answers by; what each promises and how it is driven is in README.md."""

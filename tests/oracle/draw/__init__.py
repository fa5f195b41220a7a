"""What the campaign draws, as hypothesis strategies: `runs.configs` draws a whole run."""

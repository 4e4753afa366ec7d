"""Pages, plots and cards made from evaluation results."""

"""From a store's episodes to the rows of a batch."""

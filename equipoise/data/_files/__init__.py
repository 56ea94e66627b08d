"""Files of any kind as items: folders, archives, arrays and Parquet files, decoded in parallel into a cache."""

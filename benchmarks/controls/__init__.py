"""The same jobs as ours, written as a good developer would write them with the usual parts. What we compare against."""

"""The cost of classifying images: estimated from templates and counts, or as AWS has billed it."""

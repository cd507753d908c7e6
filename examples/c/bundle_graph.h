/* bundle_graph.h - the graph in a bundle, which head.bin does not lead to. */
#ifndef BUNDLE_GRAPH_H
#define BUNDLE_GRAPH_H

#include <stddef.h>
#include <stdint.h>

typedef struct bundle_graph {
    const uint8_t *bytes; /* in the bundle */
    size_t size;
    char variant[256], member[129], input[256], output[256]; /* their names */
} bundle_graph;

/* The first graph of a bundle for a runtime ("onnx"), checked against its checksum. bundle: one that
 * em_bundle_find_head() found whole. 1, 0 where there is none, negative where the bundle is damaged. */
int bundle_graph_find(const void *bundle, size_t size, const char *runtime, bundle_graph *out);

#endif

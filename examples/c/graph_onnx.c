/* graph_onnx.c - a bundle's graph in ONNX Runtime's C library; built where its header is (see Makefile). */
#include "graph.h"

#include <stdlib.h>
#include <string.h>

#include "bundle_graph.h"
#include "say.h"

#ifdef HAVE_ONNXRUNTIME

#include <onnxruntime_c_api.h>

struct graph {
    const OrtApi *api;
    OrtEnv *env;
    OrtSession *session;
    OrtMemoryInfo *memory;
    OrtValue *input, *output; /* over pixels and embedding: running copies nothing */
    bundle_graph found;
    uint8_t *pixels;
    float *embedding;
};

/* Whether that went well. */
static int went(graph *self, OrtStatus *status)
{
    if (status == NULL)
        return 1;
    complain("ONNX Runtime: %s", self->api->GetErrorMessage(status));
    self->api->ReleaseStatus(status);
    return 0;
}

static int make_session(graph *self)
{
    const OrtApi *api = self->api;
    OrtSessionOptions *options = NULL;
    int made = went(self, api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "learn_camera", &self->env)) &&
               went(self, api->CreateSessionOptions(&options)) &&
               went(self, api->CreateSessionFromArray(self->env, self->found.bytes, self->found.size, options,
                                                      &self->session));
    if (options != NULL)
        api->ReleaseSessionOptions(options);
    return made;
}

static int make_tensors(graph *self, const em_headbin *head)
{
    const OrtApi *api = self->api;
    const int64_t in[4] = {1, head->height, head->width, 3}, out[2] = {1, head->dim};
    size_t pixels = (size_t)head->height * head->width * 3, embedding = head->dim * sizeof(float);
    self->pixels = malloc(pixels);
    self->embedding = malloc(embedding);
    if (self->pixels == NULL || self->embedding == NULL) {
        complain("no memory for the graph's input");
        return 0;
    }
    return went(self, api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &self->memory)) &&
           went(self, api->CreateTensorWithDataAsOrtValue(self->memory, self->pixels, pixels, in, 4,
                                                          ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, &self->input)) &&
           went(self, api->CreateTensorWithDataAsOrtValue(self->memory, self->embedding, embedding, out, 2,
                                                          ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &self->output));
}

graph *graph_open(const learner *from)
{
    graph *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    int found = bundle_graph_find(from->bundle, from->bundle_size, "onnx", &self->found);
    self->api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (found <= 0)
        complain("%s: %s", from->options.bundle, found < 0 ? "its graph is damaged" : "it has no ONNX graph");
    else if (self->api == NULL)
        complain("the ONNX Runtime library here (%s) is older than the header that this was built with",
                 OrtGetApiBase()->GetVersionString());
    else if (make_session(self) && make_tensors(self, &from->head))
        return self;
    graph_close(self);
    return NULL;
}

void graph_close(graph *self)
{
    const OrtApi *api = self->api;
    if (self->input != NULL)
        api->ReleaseValue(self->input);
    if (self->output != NULL)
        api->ReleaseValue(self->output);
    if (self->memory != NULL)
        api->ReleaseMemoryInfo(self->memory);
    if (self->session != NULL)
        api->ReleaseSession(self->session);
    if (self->env != NULL)
        api->ReleaseEnv(self->env);
    free(self->pixels);
    free(self->embedding);
    free(self);
}

const char *graph_variant(const graph *self)
{
    return self->found.variant;
}

uint8_t *graph_pixels(graph *self)
{
    return self->pixels;
}

const float *graph_run(graph *self)
{
    const char *const in[] = {self->found.input}, *const out[] = {self->found.output};
    const OrtValue *const input[] = {self->input};
    OrtStatus *status = self->api->Run(self->session, NULL, in, input, 1, out, 1, &self->output);
    return went(self, status) ? self->embedding : NULL;
}

#else

graph *graph_open(const learner *from)
{
    (void)from;
    complain("this was built without ONNX Runtime, so it takes embeddings only (--text -). Build it with: apt install "
             "libonnxruntime-dev; or: make ORT_HOME=... (a folder with include/ and lib/)");
    return NULL;
}

void graph_close(graph *self)
{
    (void)self;
}

const char *graph_variant(const graph *self)
{
    (void)self;
    return NULL;
}

uint8_t *graph_pixels(graph *self)
{
    (void)self;
    return NULL;
}

const float *graph_run(graph *self)
{
    (void)self;
    return NULL;
}

#endif

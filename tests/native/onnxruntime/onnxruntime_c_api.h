/* onnxruntime_c_api.h - for tests alone, where the wheel of ONNX Runtime brings the library without its header: of
 * version 1 of its interface, which does not change, what examples/c calls. The numbers are places in its table. */
#ifndef ONNXRUNTIME_C_API_H
#define ONNXRUNTIME_C_API_H

#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 1

typedef struct OrtStatus OrtStatus;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtValue OrtValue;

enum { ORT_LOGGING_LEVEL_ERROR = 3, OrtDeviceAllocator = 0, OrtMemTypeDefault = 0 };
enum { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 = 2 };

typedef struct OrtApi {
    void *from_0[2];
    const char *(*GetErrorMessage)(const OrtStatus *);                                                        /* 2 */
    OrtStatus *(*CreateEnv)(int, const char *, OrtEnv **);                                                    /* 3 */
    void *from_4[4];
    OrtStatus *(*CreateSessionFromArray)(const OrtEnv *, const void *, size_t, const OrtSessionOptions *,
                                         OrtSession **);                                                      /* 8 */
    OrtStatus *(*Run)(OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, size_t,
                      const char *const *, size_t, OrtValue **);                                              /* 9 */
    OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);                                                 /* 10 */
    void *from_11[38];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int,
                                                 OrtValue **);                                                /* 49 */
    void *from_50[19];
    OrtStatus *(*CreateCpuMemoryInfo)(int, int, OrtMemoryInfo **);                                            /* 69 */
    void *from_70[22];
    void (*ReleaseEnv)(OrtEnv *);                                                                             /* 92 */
    void (*ReleaseStatus)(OrtStatus *);
    void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
    void (*ReleaseSession)(OrtSession *);
    void (*ReleaseValue)(OrtValue *);
    void *from_97[3];
    void (*ReleaseSessionOptions)(OrtSessionOptions *);                                                       /* 100 */
} OrtApi;

typedef struct OrtApiBase {
    const OrtApi *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
} OrtApiBase;

const OrtApiBase *OrtGetApiBase(void);

#endif

/* python.c - the core for CPython: edgemeta._native, which edgemeta/kernels.py wraps. The only file that knows Python.
 *
 * Arrays come and go as buffers, so NumPy's own headers are not needed: the caller makes the output arrays. Functions
 * return the core's status; kernels.py says what it means. Long work runs without the GIL. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include "edgemeta.h"

/* Below so many multiplications, giving the GIL away costs more than it brings. */
#define LONG_WORK ((size_t)1 << 16)

/* ---- arguments ----------------------------------------------------------------------------------------------- */

/* A C-contiguous buffer of `item` bytes a number, `count` numbers (0: any). None, where `optional`, leaves buf NULL. */
static int take(PyObject *object, Py_buffer *view, size_t item, size_t count, int writable, const char *name)
{
    int flags = PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return -1;
    if (view->itemsize == (Py_ssize_t)item && (count == 0 || (size_t)view->len == count * item))
        return 0;
    PyErr_Format(PyExc_ValueError, "%s: %zd bytes in items of %zd, not %zu in items of %zu", name, view->len,
                 view->itemsize, count * item, item);
    PyBuffer_Release(view);
    view->obj = NULL;
    return -1;
}

static int take_or_none(PyObject *object, Py_buffer *view, size_t item, size_t count, const char *name)
{
    if (object != Py_None)
        return take(object, view, item, count, 0, name);
    memset(view, 0, sizeof *view);
    return 0;
}

static void release(Py_buffer *views, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (views[i].obj != NULL)
            PyBuffer_Release(&views[i]);
}

static int whole(PyObject *object, uint32_t *out)
{
    unsigned long value = PyLong_AsUnsignedLong(object);
    if (value == (unsigned long)-1 && PyErr_Occurred())
        return -1;
    if (value > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a count does not fit 32 bits");
        return -1;
    }
    *out = (uint32_t)value;
    return 0;
}

static int real(PyObject *object, double *out)
{
    *out = PyFloat_AsDouble(object);
    return *out == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int arguments(const char *name, Py_ssize_t given, Py_ssize_t wanted)
{
    if (given == wanted)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s takes %zd arguments, not %zd", name, wanted, given);
    return -1;
}

static int no_names(const char *name, PyObject *names)
{
    if (names == NULL || PyTuple_GET_SIZE(names) == 0)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s takes no keywords", name);
    return -1;
}

/* Scratch memory as the core wants it. */
typedef struct scratch {
    void *raw, *at;
    size_t size;
} scratch;

static int reserve(scratch *memory, size_t size)
{
    memory->raw = PyMem_RawMalloc(size + EM_ALIGN);
    if (memory->raw == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memory->at = (void *)(((uintptr_t)memory->raw + EM_ALIGN - 1) / EM_ALIGN * EM_ALIGN);
    memory->size = size;
    return 0;
}

/* ---- the module's own types ------------------------------------------------------------------------------------ */

typedef struct module_state {
    PyTypeObject *kernels, *scorer, *moment;
} module_state;

typedef struct kernels_object {
    PyObject_HEAD
    const em_kernels *kernels;
    PyObject *name;
} kernels_object;

/* A linear head: what predict reads. The arrays stay those of the caller. */
typedef struct scorer_object {
    PyObject_HEAD
    const em_kernels *kernels;
    Py_buffer views[2]; /* weights (classes, dim), bias (classes,) */
    uint32_t classes, dim;
} scorer_object;

/* G of a taught set, in tiles. */
typedef struct moment_object {
    PyObject_HEAD
    scratch memory;
    em_statistics *statistics;
    uint32_t dim;
} moment_object;

static PyObject *status_of(int status)
{
    return PyLong_FromLong(status);
}

/* ---- Kernels ------------------------------------------------------------------------------------------------------- */

static PyObject *kernels_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const char *name = NULL;
    const em_kernels *found;
    kernels_object *self;
    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) != 0) {
        PyErr_SetString(PyExc_TypeError, "Kernels takes no keywords");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "s", &name))
        return NULL;
    found = em_kernels_find(name);
    if (found == NULL)
        return PyErr_Format(PyExc_LookupError, "no kernels '%s' on this machine", name);
    self = (kernels_object *)type->tp_alloc(type, 0);
    if (self == NULL)
        return NULL;
    self->kernels = found;
    self->name = PyUnicode_FromString(em_kernels_name(found));
    if (self->name == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void kernels_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    Py_XDECREF(((kernels_object *)object)->name);
    type->tp_free(object);
    Py_DECREF(type);
}

/* fit(pixels, rows, columns, format, row_stride, height, width, out): pixels is a buffer whose first byte is the first
 * pixel, its last at most row_stride * rows away; out uint8 (height, width, 3). */
static PyObject *kernels_fit(PyObject *object, PyObject *const *args, Py_ssize_t count)
{
    const em_kernels *kernels = ((kernels_object *)object)->kernels;
    uint32_t rows, columns, format, stride, height, width;
    Py_buffer views[2] = {{0}};
    em_image image = {0};
    scratch memory;
    size_t channels;
    int status;
    if (arguments("fit", count, 8) || whole(args[1], &rows) || whole(args[2], &columns) || whole(args[3], &format) ||
        whole(args[4], &stride) || whole(args[5], &height) || whole(args[6], &width))
        return NULL;
    if (format < EM_PIXELS_RGB || format > EM_PIXELS_GREY || rows == 0)
        return status_of(EM_ERR_VALUE);
    channels = format == EM_PIXELS_RGBA ? 4 : format == EM_PIXELS_GREY ? 1 : 3;
    if (PyObject_GetBuffer(args[0], &views[0], PyBUF_STRIDED_RO) < 0)
        return NULL;
    /* The strides of the buffer say that its rows lie so; the last row need not be whole. */
    if (stride < channels * columns || views[0].itemsize != 1 || views[0].ndim < 2 || views[0].strides == NULL ||
        views[0].strides[0] != (Py_ssize_t)stride || views[0].shape[0] != (Py_ssize_t)rows ||
        views[0].shape[1] != (Py_ssize_t)columns || views[0].strides[1] != (Py_ssize_t)channels) {
        PyErr_SetString(PyExc_ValueError, "fit: the pixels do not lie as said");
        goto failed;
    }
    if (take(args[7], &views[1], 1, 3 * (size_t)height * width, 1, "out") < 0 ||
        reserve(&memory, em_fit_size(columns, rows, (int)format, width, height)) < 0)
        goto failed;
    image.pixels = views[0].buf;
    image.width = columns;
    image.height = rows;
    image.stride = stride;
    image.format = (int)format;
    Py_BEGIN_ALLOW_THREADS
    status = em_fit(kernels, &image, width, height, memory.at, memory.size, views[1].buf);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(memory.raw);
    release(views, 2);
    return status_of(status);
failed:
    release(views, 2);
    return NULL;
}

static int normalise_rows(const Py_buffer *views, uint32_t count, uint32_t dim, double power, int l2, double scale)
{
    int status = EM_OK;
    for (uint32_t i = 0; i < count && status == EM_OK; i++)
        status = em_normalise((const float *)views[0].buf + (size_t)i * dim, dim, views[1].buf, power, l2, scale,
                              (int32_t *)views[2].buf + (size_t)i * dim);
    return status;
}

/* normalise(raw, count, dim, centre, power, l2, scale, out): raw float32 (count, dim), centre float32 (dim,) or None, out
 * int32 (count, dim). Returns count, or what em_normalise() said of the first row that it refused. */
static PyObject *kernels_normalise(PyObject *object, PyObject *const *args, Py_ssize_t given)
{
    uint32_t count, dim;
    double power, scale;
    int l2, status;
    Py_buffer views[3] = {{0}};
    (void)object;
    if (arguments("normalise", given, 8) || whole(args[1], &count) || whole(args[2], &dim) || real(args[4], &power) ||
        real(args[6], &scale))
        return NULL;
    l2 = PyObject_IsTrue(args[5]);
    if (l2 < 0 || take(args[0], &views[0], sizeof(float), (size_t)count * dim, 0, "raw") < 0 ||
        take_or_none(args[3], &views[1], sizeof(float), dim, "centre") < 0 ||
        take(args[7], &views[2], sizeof(int32_t), (size_t)count * dim, 1, "out") < 0) {
        release(views, 3);
        return NULL;
    }
    if ((size_t)count * dim < LONG_WORK) {
        status = normalise_rows(views, count, dim, power, l2, scale);
    } else {
        Py_BEGIN_ALLOW_THREADS
        status = normalise_rows(views, count, dim, power, l2, scale);
        Py_END_ALLOW_THREADS
    }
    release(views, 3);
    return status_of(status == EM_OK ? (int)count : status);
}

/* The facts of a taught set, from (counts, sums, squares, moment, z, y): float64 but for y, uint32. */
static int take_facts(PyObject *const *args, Py_buffer *views, em_facts *facts)
{
    size_t classes, dim;
    if (take(args[0], &views[0], sizeof(double), 0, 0, "counts") < 0)
        return -1;
    classes = (size_t)views[0].len / sizeof(double);
    if (take(args[1], &views[1], sizeof(double), 0, 0, "sums") < 0 || real(args[2], &facts->squares) < 0)
        return -1;
    if (classes == 0 || (size_t)views[1].len % (classes * sizeof(double)) != 0) {
        PyErr_SetString(PyExc_ValueError, "sums: not a row for each class");
        return -1;
    }
    dim = (size_t)views[1].len / sizeof(double) / classes;
    facts->counts = views[0].buf;
    facts->sums = views[1].buf;
    for (size_t c = 0; c < classes; c++)
        facts->total += (uint32_t)facts->counts[c];
    facts->classes = (uint32_t)classes;
    facts->dim = (uint32_t)dim;
    if (take_or_none(args[3], &views[2], sizeof(double), dim * dim, "moment") < 0 ||
        take_or_none(args[4], &views[3], sizeof(double), facts->total * dim, "z") < 0 ||
        take_or_none(args[5], &views[4], sizeof(uint32_t), facts->total, "y") < 0)
        return -1;
    facts->moment = views[2].buf;
    facts->z = views[3].buf;
    facts->y = views[4].buf;
    return 0;
}

enum { FACTS = 5 }; /* buffers of them */

/* ridge(facts..., lambda, balance, weights, bias) */
static PyObject *kernels_ridge(PyObject *object, PyObject *const *args, Py_ssize_t given)
{
    const em_kernels *kernels = ((kernels_object *)object)->kernels;
    Py_buffer views[FACTS + 2] = {{0}};
    em_facts facts = {0};
    scratch memory;
    double lambda;
    int balance, status;
    if (arguments("ridge", given, 10) || take_facts(args, views, &facts) < 0 || real(args[6], &lambda) < 0 ||
        (balance = PyObject_IsTrue(args[7])) < 0 ||
        take(args[8], &views[FACTS], sizeof(double), (size_t)facts.classes * facts.dim, 1, "weights") < 0 ||
        take(args[9], &views[FACTS + 1], sizeof(double), facts.classes, 1, "bias") < 0 ||
        reserve(&memory, em_ridge_size(facts.classes, facts.dim, facts.total, facts.z != NULL)) < 0) {
        release(views, FACTS + 2);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = em_ridge(kernels, &facts, lambda, balance, memory.at, memory.size, views[FACTS].buf, views[FACTS + 1].buf);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(memory.raw);
    release(views, FACTS + 2);
    return status_of(status);
}

/* lda(facts..., shrinkage, independent, weights, bias) */
static PyObject *kernels_lda(PyObject *object, PyObject *const *args, Py_ssize_t given)
{
    const em_kernels *kernels = ((kernels_object *)object)->kernels;
    Py_buffer views[FACTS + 2] = {{0}};
    em_facts facts = {0};
    scratch memory;
    double shrinkage;
    uint32_t independent;
    int status;
    if (arguments("lda", given, 10) || take_facts(args, views, &facts) < 0 || real(args[6], &shrinkage) < 0 ||
        whole(args[7], &independent) < 0 ||
        take(args[8], &views[FACTS], sizeof(double), (size_t)facts.classes * facts.dim, 1, "weights") < 0 ||
        take(args[9], &views[FACTS + 1], sizeof(double), facts.classes, 1, "bias") < 0 ||
        reserve(&memory, em_lda_size(facts.classes, facts.dim, facts.total, facts.z != NULL)) < 0) {
        release(views, FACTS + 2);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = em_lda(kernels, &facts, shrinkage, independent, memory.at, memory.size, views[FACTS].buf,
                    views[FACTS + 1].buf);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(memory.raw);
    release(views, FACTS + 2);
    return status_of(status);
}

/* The groups of a taught set, uint32 (total,), and the arrays that leaving out fills. */
static int take_left_out(PyObject *const *args, Py_buffer *views, const em_facts *facts)
{
    return take_or_none(args[0], &views[0], sizeof(uint32_t), facts->total, "groups") < 0 ||
                   take(args[1], &views[1], sizeof(double), (size_t)facts->total * facts->classes, 1, "scores") < 0
               ? -1
               : 0;
}

/* ridge_leave_out(facts..., lambda, balance, groups, scores) */
static PyObject *kernels_ridge_leave_out(PyObject *object, PyObject *const *args, Py_ssize_t given)
{
    const em_kernels *kernels = ((kernels_object *)object)->kernels;
    Py_buffer views[FACTS + 2] = {{0}};
    em_facts facts = {0};
    scratch memory;
    double lambda;
    int balance, status;
    if (arguments("ridge_leave_out", given, 10) || take_facts(args, views, &facts) < 0 || real(args[6], &lambda) < 0 ||
        (balance = PyObject_IsTrue(args[7])) < 0 || take_left_out(args + 8, views + FACTS, &facts) < 0 ||
        reserve(&memory, em_ridge_leave_out_size(&facts, views[FACTS].buf)) < 0) {
        release(views, FACTS + 2);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = em_ridge_leave_out(kernels, &facts, views[FACTS].buf, lambda, balance, memory.at, memory.size,
                                views[FACTS + 1].buf);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(memory.raw);
    release(views, FACTS + 2);
    return status_of(status);
}

/* lda_leave_out(facts..., shrinkage, independent, groups, scores, squares) */
static PyObject *kernels_lda_leave_out(PyObject *object, PyObject *const *args, Py_ssize_t given)
{
    const em_kernels *kernels = ((kernels_object *)object)->kernels;
    Py_buffer views[FACTS + 3] = {{0}};
    em_facts facts = {0};
    scratch memory;
    double shrinkage;
    uint32_t independent;
    int status;
    if (arguments("lda_leave_out", given, 11) || take_facts(args, views, &facts) < 0 ||
        real(args[6], &shrinkage) < 0 || whole(args[7], &independent) < 0 ||
        take_left_out(args + 8, views + FACTS, &facts) < 0 ||
        take(args[10], &views[FACTS + 2], sizeof(double), facts.total, 1, "squares") < 0 ||
        reserve(&memory, em_lda_leave_out_size(&facts, views[FACTS].buf)) < 0) {
        release(views, FACTS + 3);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = em_lda_leave_out(kernels, &facts, views[FACTS].buf, shrinkage, independent, memory.at, memory.size,
                              views[FACTS + 1].buf, views[FACTS + 2].buf);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(memory.raw);
    release(views, FACTS + 3);
    return status_of(status);
}

/* ridge_choose(facts..., balance, groups): lambda, or a status. */
static PyObject *kernels_ridge_choose(PyObject *object, PyObject *const *args, Py_ssize_t given)
{
    const em_kernels *kernels = ((kernels_object *)object)->kernels;
    Py_buffer views[FACTS + 1] = {{0}};
    em_facts facts = {0};
    scratch memory;
    double lambda = 0.0;
    int balance, status;
    if (arguments("ridge_choose", given, 8) || take_facts(args, views, &facts) < 0 ||
        (balance = PyObject_IsTrue(args[6])) < 0 ||
        take_or_none(args[7], &views[FACTS], sizeof(uint32_t), facts.total, "groups") < 0 ||
        reserve(&memory, em_ridge_choose_size(&facts, views[FACTS].buf)) < 0) {
        release(views, FACTS + 1);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    status = em_ridge_choose(kernels, &facts, views[FACTS].buf, balance, memory.at, memory.size, &lambda);
    Py_END_ALLOW_THREADS
    PyMem_RawFree(memory.raw);
    release(views, FACTS + 1);
    return status == EM_OK ? PyFloat_FromDouble(lambda) : PyFloat_FromDouble(status);
}

/* scorer(weights, bias): float64 (classes, dim) and (classes,). */
static PyObject *kernels_scorer(PyObject *object, PyTypeObject *defining, PyObject *const *args, Py_ssize_t given,
                                PyObject *names)
{
    module_state *state = PyType_GetModuleState(defining);
    scorer_object *self;
    if (state == NULL || no_names("scorer", names) || arguments("scorer", given, 2))
        return NULL;
    self = (scorer_object *)state->scorer->tp_alloc(state->scorer, 0);
    if (self == NULL)
        return NULL;
    self->kernels = ((kernels_object *)object)->kernels;
    if (take(args[1], &self->views[1], sizeof(double), 0, 0, "bias") < 0 ||
        take(args[0], &self->views[0], sizeof(double), 0, 0, "weights") < 0)
        goto failed;
    self->classes = (uint32_t)((size_t)self->views[1].len / sizeof(double));
    if (self->classes == 0 || self->views[0].len == 0 || self->views[0].len % self->views[1].len != 0) {
        PyErr_SetString(PyExc_ValueError, "weights: not a row for each class");
        goto failed;
    }
    self->dim = (uint32_t)(self->views[0].len / self->views[1].len);
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

/* moment(dim): of nothing. */
static PyObject *kernels_moment(PyObject *object, PyTypeObject *defining, PyObject *const *args, Py_ssize_t given,
                                PyObject *names)
{
    module_state *state = PyType_GetModuleState(defining);
    moment_object *self;
    uint32_t dim;
    size_t size;
    if (state == NULL || no_names("moment", names) || arguments("moment", given, 1) || whole(args[0], &dim) < 0)
        return NULL;
    size = em_statistics_size(dim, 1, 1);
    if (size == 0)
        return PyErr_Format(PyExc_ValueError, "no moment of %u dimensions", (unsigned)dim);
    self = (moment_object *)state->moment->tp_alloc(state->moment, 0);
    if (self == NULL)
        return NULL;
    self->dim = dim;
    if (reserve(&self->memory, size) < 0 || em_statistics_init(self->memory.at, self->memory.size,
                                                               ((kernels_object *)object)->kernels, dim, 1, 1,
                                                               &self->statistics) != EM_OK) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* ---- Scorer ---------------------------------------------------------------------------------------------------------- */

static void scorer_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    release(((scorer_object *)object)->views, 2);
    type->tp_free(object);
    Py_DECREF(type);
}

/* Embeddings q20 (count, dim) to float64 in units of 1, exactly, and to scores (count, classes). */
static int score_q20(const scorer_object *self, const int32_t *q20, size_t count, double *z, double *scores)
{
    int status = EM_OK;
    for (size_t n = 0; n < count && status == EM_OK; n++, q20 += self->dim, scores += self->classes) {
        for (uint32_t i = 0; i < self->dim; i++)
            z[i] = q20[i] * (1.0 / EM_Q20);
        status = em_score_f64(self->kernels, self->views[0].buf, self->views[1].buf, self->classes, self->dim, z, 1,
                              scores);
    }
    return status;
}

/* scores(q20, out): int32 (count, dim) to float64 (count, classes). */
static PyObject *scorer_scores(PyObject *object, PyObject *const *args, Py_ssize_t given)
{
    scorer_object *self = (scorer_object *)object;
    Py_buffer views[2] = {{0}};
    scratch memory;
    size_t count;
    int status;
    if (arguments("scores", given, 2) || take(args[0], &views[0], sizeof(int32_t), 0, 0, "q20") < 0)
        return NULL;
    count = (size_t)views[0].len / sizeof(int32_t) / self->dim;
    if (count * self->dim * sizeof(int32_t) != (size_t)views[0].len) {
        PyErr_SetString(PyExc_ValueError, "q20: not rows of the scorer's dimension");
        release(views, 2);
        return NULL;
    }
    if (take(args[1], &views[1], sizeof(double), count * self->classes, 1, "out") < 0 ||
        reserve(&memory, self->dim * sizeof(double)) < 0) {
        release(views, 2);
        return NULL;
    }
    if (count * self->classes * self->dim < LONG_WORK) {
        status = score_q20(self, views[0].buf, count, memory.at, views[1].buf);
    } else {
        Py_BEGIN_ALLOW_THREADS
        status = score_q20(self, views[0].buf, count, memory.at, views[1].buf);
        Py_END_ALLOW_THREADS
    }
    PyMem_RawFree(memory.raw);
    release(views, 2);
    return status_of(status);
}

/* ---- Moment ---------------------------------------------------------------------------------------------------------- */

static void moment_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyMem_RawFree(((moment_object *)object)->memory.raw);
    type->tp_free(object);
    Py_DECREF(type);
}

/* add(q20) and remove(q20): int32 (count, dim). */
static PyObject *moment_change(moment_object *self, PyObject *q20,
                               int (*change)(em_statistics *, uint32_t, const int32_t *, uint32_t))
{
    Py_buffer view = {0};
    size_t count;
    int status;
    if (take(q20, &view, sizeof(int32_t), 0, 0, "q20") < 0)
        return NULL;
    count = (size_t)view.len / sizeof(int32_t) / self->dim;
    if (count > UINT32_MAX || count * self->dim * sizeof(int32_t) != (size_t)view.len) {
        PyErr_SetString(PyExc_ValueError, "q20: not rows of the moment's dimension");
        PyBuffer_Release(&view);
        return NULL;
    }
    if (count * self->dim * self->dim < LONG_WORK) {
        status = change(self->statistics, 0, view.buf, (uint32_t)count);
    } else { /* the learner's lock keeps other threads from this object */
        Py_BEGIN_ALLOW_THREADS
        status = change(self->statistics, 0, view.buf, (uint32_t)count);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&view);
    return status_of(status);
}

static PyObject *moment_add(PyObject *object, PyObject *q20)
{
    return moment_change((moment_object *)object, q20, em_statistics_add);
}

static PyObject *moment_remove(PyObject *object, PyObject *q20)
{
    return moment_change((moment_object *)object, q20, em_statistics_remove);
}

/* full(out): float64 (dim, dim). */
static PyObject *moment_full(PyObject *object, PyObject *out)
{
    moment_object *self = (moment_object *)object;
    Py_buffer view = {0};
    int status;
    if (take(out, &view, sizeof(double), (size_t)self->dim * self->dim, 1, "out") < 0)
        return NULL;
    status = em_statistics_moment(self->statistics, view.buf);
    PyBuffer_Release(&view);
    return status_of(status);
}

static PyObject *moment_nbytes(PyObject *object, void *closure)
{
    (void)closure;
    return PyLong_FromSize_t(((moment_object *)object)->memory.size);
}

/* ---- the module -------------------------------------------------------------------------------------------------------- */

/* A method's type has room for one signature only; by way of void (*)(void) any can be stored. */
#define FAST(function) ((PyCFunction)(void (*)(void))(function))

static PyMethodDef kernels_methods[] = {
    {"fit", FAST(kernels_fit), METH_FASTCALL, NULL},
    {"normalise", FAST(kernels_normalise), METH_FASTCALL, NULL},
    {"ridge", FAST(kernels_ridge), METH_FASTCALL, NULL},
    {"lda", FAST(kernels_lda), METH_FASTCALL, NULL},
    {"ridge_leave_out", FAST(kernels_ridge_leave_out), METH_FASTCALL, NULL},
    {"ridge_choose", FAST(kernels_ridge_choose), METH_FASTCALL, NULL},
    {"lda_leave_out", FAST(kernels_lda_leave_out), METH_FASTCALL, NULL},
    {"scorer", FAST(kernels_scorer), METH_METHOD | METH_FASTCALL | METH_KEYWORDS, NULL},
    {"moment", FAST(kernels_moment), METH_METHOD | METH_FASTCALL | METH_KEYWORDS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef kernels_members[] = {
    {"name", T_OBJECT_EX, offsetof(kernels_object, name), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot kernels_slots[] = {
    {Py_tp_new, kernels_new},
    {Py_tp_dealloc, kernels_dealloc},
    {Py_tp_methods, kernels_methods},
    {Py_tp_members, kernels_members},
    {Py_tp_doc, "The core under one instruction set."},
    {0, NULL},
};

static PyType_Spec kernels_spec = {
    "edgemeta._native.Kernels", sizeof(kernels_object), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, kernels_slots,
};

static PyMethodDef scorer_methods[] = {
    {"scores", FAST(scorer_scores), METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot scorer_slots[] = {
    {Py_tp_dealloc, scorer_dealloc},
    {Py_tp_methods, scorer_methods},
    {Py_tp_doc, "A linear head."},
    {0, NULL},
};

static PyType_Spec scorer_spec = {
    "edgemeta._native.Scorer", sizeof(scorer_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, scorer_slots,
};

static PyMethodDef moment_methods[] = {
    {"add", moment_add, METH_O, NULL},
    {"remove", moment_remove, METH_O, NULL},
    {"full", moment_full, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef moment_members[] = {
    {"nbytes", moment_nbytes, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot moment_slots[] = {
    {Py_tp_dealloc, moment_dealloc},
    {Py_tp_methods, moment_methods},
    {Py_tp_getset, moment_members},
    {Py_tp_doc, "The sum of z z^T of a taught set, in tiles."},
    {0, NULL},
};

static PyType_Spec moment_spec = {
    "edgemeta._native.Moment", sizeof(moment_object), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION, moment_slots,
};

/* The names of the kernels that this machine has, the slowest first. */
static PyObject *names_of(void)
{
    static const char *const known[] = {"portable", "sse2", "avx2", "avx512", "neon", "neon-dotprod"};
    PyObject *names = PyList_New(0), *tuple;
    for (size_t i = 0; names != NULL && i < sizeof known / sizeof *known; i++) {
        PyObject *name = em_kernels_find(known[i]) == NULL ? NULL : PyUnicode_FromString(known[i]);
        if (name != NULL && PyList_Append(names, name) < 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    if (names == NULL || PyErr_Occurred())
        return NULL;
    tuple = PyList_AsTuple(names);
    Py_DECREF(names);
    return tuple;
}

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
    PyTypeObject *type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, type) < 0)
        Py_CLEAR(type);
    return type;
}

static int module_exec(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    PyObject *names = names_of();
    int status = names == NULL ? -1 : PyModule_AddObjectRef(module, "NAMES", names);
    Py_XDECREF(names);
    if (status < 0 || PyModule_AddStringConstant(module, "VERSION", EM_VERSION) < 0)
        return -1;
    state->kernels = add_type(module, &kernels_spec);
    state->scorer = add_type(module, &scorer_spec);
    state->moment = add_type(module, &moment_spec);
    return state->kernels == NULL || state->scorer == NULL || state->moment == NULL ? -1 : 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = PyModule_GetState(module);
    Py_VISIT(state->kernels);
    Py_VISIT(state->scorer);
    Py_VISIT(state->moment);
    return 0;
}

static int module_clear(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    Py_CLEAR(state->kernels);
    Py_CLEAR(state->scorer);
    Py_CLEAR(state->moment);
    return 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT, "edgemeta._native", "The C core.", sizeof(module_state), NULL, module_slots,
    module_traverse, module_clear, NULL,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module_def);
}

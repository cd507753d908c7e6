/* camera_v4l2.c - a camera of Linux (USB webcams, and what libcamerify shows as one): YUYV or NV12, memory-mapped. */
#if defined(__linux__)
#define _DEFAULT_SOURCE
#endif
#include "source.h"

#include "say.h"

#if defined(__has_include)
#if __has_include(<linux/videodev2.h>)
#define HAVE_V4L2 1
#endif
#endif

#ifdef HAVE_V4L2

#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFERS 4
#define PATIENCE 5000 /* milliseconds without a frame */

struct camera {
    int fd, streaming, held; /* held: the buffer that the program looks at, -1 for none */
    const char *device;
    struct v4l2_pix_format format;
    unsigned count;
    struct {
        void *start;
        size_t size;
    } buffers[BUFFERS];
};

/* ioctl, again after a signal that is not Ctrl-C. */
static int ask(camera *self, unsigned long request, void *argument)
{
    int status;
    do
        status = ioctl(self->fd, request, argument);
    while (status < 0 && errno == EINTR && !stop);
    return status;
}

static int refuse(camera *self, const char *what)
{
    complain("%s: %s: %s", self->device, what, strerror(errno));
    return -1;
}

/* YUYV, which every webcam has, or NV12, at a size that the camera chooses near the one asked for. */
static int set_format(camera *self, uint32_t width, uint32_t height)
{
    static const uint32_t formats[] = {V4L2_PIX_FMT_YUYV, V4L2_PIX_FMT_NV12};
    struct v4l2_capability able;
    memset(&able, 0, sizeof able);
    if (ask(self, VIDIOC_QUERYCAP, &able) < 0)
        return refuse(self, "it is no camera");
    uint32_t caps = able.capabilities & V4L2_CAP_DEVICE_CAPS ? able.device_caps : able.capabilities;
    if (!(caps & V4L2_CAP_VIDEO_CAPTURE) || !(caps & V4L2_CAP_STREAMING)) {
        complain("%s: it gives no frames; try the next /dev/video*", self->device);
        return -1;
    }
    for (int i = 0; i < 2; i++) {
        struct v4l2_format wanted;
        memset(&wanted, 0, sizeof wanted);
        wanted.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        wanted.fmt.pix.width = width;
        wanted.fmt.pix.height = height;
        wanted.fmt.pix.pixelformat = formats[i];
        wanted.fmt.pix.field = V4L2_FIELD_ANY;
        if (ask(self, VIDIOC_S_FMT, &wanted) == 0 && wanted.fmt.pix.pixelformat == formats[i]) {
            self->format = wanted.fmt.pix;
            return 0;
        }
    }
    complain("%s: it has neither YUYV nor NV12; convert with ffmpeg and use --ppm -", self->device);
    return -1;
}

static int map_buffers(camera *self)
{
    struct v4l2_requestbuffers wanted;
    memset(&wanted, 0, sizeof wanted);
    wanted.count = BUFFERS;
    wanted.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    wanted.memory = V4L2_MEMORY_MMAP;
    if (ask(self, VIDIOC_REQBUFS, &wanted) < 0)
        return refuse(self, "no buffers");
    for (unsigned i = 0; i < wanted.count && i < BUFFERS; i++) {
        struct v4l2_buffer buffer;
        memset(&buffer, 0, sizeof buffer);
        buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        buffer.memory = V4L2_MEMORY_MMAP;
        buffer.index = i;
        if (ask(self, VIDIOC_QUERYBUF, &buffer) < 0)
            return refuse(self, "no buffer");
        void *start = mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd, (off_t)buffer.m.offset);
        if (start == MAP_FAILED)
            return refuse(self, "no buffer");
        self->buffers[i].start = start;
        self->buffers[i].size = buffer.length;
        self->count++;
        if (ask(self, VIDIOC_QBUF, &buffer) < 0)
            return refuse(self, "no buffer");
    }
    return 0;
}

camera *camera_open(const char *device, uint32_t width, uint32_t height)
{
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    camera *self = calloc(1, sizeof *self);
    if (self == NULL)
        return NULL;
    self->device = device;
    self->held = -1;
    self->fd = open(device, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (self->fd < 0)
        refuse(self, "it cannot be opened");
    else if (set_format(self, width, height) == 0 && map_buffers(self) == 0) {
        self->streaming = ask(self, VIDIOC_STREAMON, &type) == 0;
        if (!self->streaming)
            refuse(self, "it does not start");
    }
    if (!self->streaming) {
        camera_close(self);
        return NULL;
    }
    return self;
}

void camera_close(camera *self)
{
    int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    if (self->streaming)
        ioctl(self->fd, VIDIOC_STREAMOFF, &type);
    for (unsigned i = 0; i < self->count; i++)
        munmap(self->buffers[i].start, self->buffers[i].size);
    if (self->fd >= 0)
        close(self->fd);
    free(self);
}

static int give_back(camera *self)
{
    struct v4l2_buffer buffer;
    if (self->held < 0)
        return 0;
    memset(&buffer, 0, sizeof buffer);
    buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    buffer.memory = V4L2_MEMORY_MMAP;
    buffer.index = (uint32_t)self->held;
    self->held = -1;
    return ask(self, VIDIOC_QBUF, &buffer) < 0 ? refuse(self, "a buffer was not taken back") : 0;
}

/* The newest frame: 1 with it in `held`, 0 if there is none yet. */
static int take_newest(camera *self)
{
    for (;;) {
        struct v4l2_buffer buffer;
        memset(&buffer, 0, sizeof buffer);
        buffer.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        buffer.memory = V4L2_MEMORY_MMAP;
        if (ask(self, VIDIOC_DQBUF, &buffer) < 0)
            return errno == EAGAIN ? self->held >= 0 : refuse(self, "no frame");
        if (give_back(self) < 0)
            return -1;
        self->held = (int)buffer.index;
        size_t rows = self->format.height;
        if (self->format.pixelformat == V4L2_PIX_FMT_NV12)
            rows = rows * 3 / 2;
        if ((buffer.flags & V4L2_BUF_FLAG_ERROR) || buffer.bytesused < rows * self->format.bytesperline)
            if (give_back(self) < 0) /* a frame with a hole */
                return -1;
    }
}

int camera_image(camera *self, em_image *out)
{
    struct pollfd waiting = {0, POLLIN, 0};
    int status = give_back(self), ready;
    waiting.fd = self->fd;
    while (status == 0 && !stop) {
        ready = poll(&waiting, 1, PATIENCE);
        if (ready == 0) {
            complain("%s: no frame for %d seconds", self->device, PATIENCE / 1000);
            return -1;
        }
        if (ready > 0)
            status = take_newest(self);
    }
    if (status <= 0)
        return stop ? 0 : status;
    memset(out, 0, sizeof *out);
    out->pixels = self->buffers[self->held].start;
    out->width = self->format.width;
    out->height = self->format.height;
    out->stride = self->format.bytesperline;
    out->format = self->format.pixelformat == V4L2_PIX_FMT_NV12 ? EM_PIXELS_NV12 : EM_PIXELS_YUYV;
    return 1;
}

#else

camera *camera_open(const char *device, uint32_t width, uint32_t height)
{
    (void)width, (void)height;
    complain("%s: this program was built without linux/videodev2.h; use --ppm", device);
    return NULL;
}

void camera_close(camera *self)
{
    (void)self;
}

int camera_image(camera *self, em_image *out)
{
    (void)self, (void)out;
    return -1;
}

#endif

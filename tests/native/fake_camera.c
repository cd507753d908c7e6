/* fake_camera.c - a V4L2 camera for tests, by LD_PRELOAD: its device is a file of raw frames, named by FAKE_CAMERA as
 * FORMAT:WIDTHxHEIGHT:STRIDE (FORMAT: YUYV or NV12). Between two frames it says once that there is none yet, and every
 * third is marked as broken, and is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUFFERS 4

static struct {
    int fd, queued[BUFFERS], first, count, calls, frame;
    size_t size;
    unsigned width, height, stride;
    uint32_t format;
    uint8_t *memory[BUFFERS];
} fake = {-1, {0}, 0, 0, 0, 0, 0, 0, 0, 0, 0, {NULL}};

static void set_up(int fd)
{
    char format[5] = "";
    if (sscanf(getenv("FAKE_CAMERA"), "%4[^:]:%ux%u:%u", format, &fake.width, &fake.height, &fake.stride) != 4)
        abort();
    fake.fd = fd;
    fake.format = v4l2_fourcc((unsigned)format[0], (unsigned)format[1], (unsigned)format[2], (unsigned)format[3]);
    fake.size = (size_t)fake.stride * (fake.format == V4L2_PIX_FMT_NV12 ? fake.height * 3 / 2 : fake.height);
}

static int dequeue(struct v4l2_buffer *buffer)
{
    int index = fake.queued[fake.first];
    if (++fake.calls % 2 == 0 || fake.count == 0 ||
        read(fake.fd, fake.memory[index], fake.size) != (ssize_t)fake.size) {
        errno = EAGAIN;
        return -1;
    }
    fake.first = (fake.first + 1) % BUFFERS;
    fake.count--;
    buffer->index = (uint32_t)index;
    buffer->bytesused = (uint32_t)fake.size;
    buffer->flags = ++fake.frame % 3 == 0 ? V4L2_BUF_FLAG_ERROR : 0;
    if (buffer->flags)
        memset(fake.memory[index], 0, fake.size);
    return 0;
}

static int answer(unsigned long request, void *argument)
{
    struct v4l2_format *wanted = argument;
    struct v4l2_buffer *buffer = argument;
    switch (request) {
    case VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)argument)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case VIDIOC_S_FMT: /* it has one format and one size, as some have */
        wanted->fmt.pix.pixelformat = fake.format;
        wanted->fmt.pix.width = fake.width;
        wanted->fmt.pix.height = fake.height;
        wanted->fmt.pix.bytesperline = fake.stride;
        return 0;
    case VIDIOC_REQBUFS:
        return 0;
    case VIDIOC_QUERYBUF:
        buffer->length = (uint32_t)fake.size;
        buffer->m.offset = buffer->index * 4096;
        return 0;
    case VIDIOC_QBUF:
        fake.queued[(fake.first + fake.count++) % BUFFERS] = (int)buffer->index;
        return 0;
    case VIDIOC_DQBUF:
        return dequeue(buffer);
    case VIDIOC_STREAMON:
    case VIDIOC_STREAMOFF:
        return 0;
    default:
        errno = EINVAL;
        return -1;
    }
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (request == VIDIOC_QUERYCAP && fake.fd < 0)
        set_up(fd);
    if (fd == fake.fd)
        return answer(request, argument);
    int (*real)(int, unsigned long, ...);
    *(void **)&real = dlsym(RTLD_NEXT, "ioctl");
    return real(fd, request, argument);
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (fd == fake.fd && fd >= 0)
        return fake.memory[offset / 4096] = malloc(size);
    void *(*real)(void *, size_t, int, int, int, off_t);
    *(void **)&real = dlsym(RTLD_NEXT, "mmap");
    return real(address, size, protection, flags, fd, offset);
}

int munmap(void *address, size_t size)
{
    for (int i = 0; i < BUFFERS; i++)
        if (fake.memory[i] == address) {
            free(address);
            fake.memory[i] = NULL;
            return 0;
        }
    int (*real)(void *, size_t);
    *(void **)&real = dlsym(RTLD_NEXT, "munmap");
    return real(address, size);
}

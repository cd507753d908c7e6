/* journal_posix.c - a journal in a file: its lock beside it, and its folder. The only file that knows of a system.
 *
 * Symbolic links are followed once, when it is opened: two names of one file must share one lock. */
#if defined(__APPLE__)
#define _DARWIN_C_SOURCE
#else
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
/* On 32 bits too, files may be large, and of a time after 2038. */
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#endif
#include "journal.h"

#if defined(__unix__) || defined(__APPLE__)

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h> /* rename, and nothing else */
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif
#define ENDING 8 /* bytes for ".lock" or ".new" behind a name */

typedef struct posix_store {
    int fd, lock, readonly;
    pid_t pid;
    char path[PATH_MAX + ENDING], other[PATH_MAX + ENDING];
} posix_store;

/* The name with an ending, in `other`. */
static const char *with_ending(posix_store *store, const char *ending)
{
    size_t size = strlen(store->path);
    memcpy(store->other, store->path, size);
    memcpy(store->other + size, ending, strlen(ending) + 1);
    return store->other;
}

/* ---- the place: as in edgemeta/journal/place.py ---------------------------------------------------------------- */

static void add_file(emj_sha256 *hash, const char *path)
{
    uint8_t data[256];
    size_t size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && size < sizeof data) {
        ssize_t got = read(fd, data + size, sizeof data - size);
        if (got < 0)
            size = 0; /* what cannot be read says nothing */
        if (got <= 0)
            break;
        size += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    emj_sha256_add(hash, data, size);
    emj_sha256_add(hash, "", 1);
}

static void add_number(emj_sha256 *hash, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value != 0);
    emj_sha256_add(hash, digits + at, sizeof digits - at);
}

static int place_of(int fd, uint8_t *place)
{
    /* A card that was cloned for ten devices has the same machine-id and inode ten times: hence the serial numbers. */
    static const char *const serials[] = {"/etc/machine-id", "/sys/firmware/devicetree/base/serial-number",
                                          "/sys/class/dmi/id/product_uuid", "/sys/block/mmcblk0/device/cid"};
    struct stat info;
    emj_sha256 hash;
    uint8_t digest[32];
    if (fstat(fd, &info) != 0)
        return EM_ERR_IO;
    emj_sha256_begin(&hash);
    for (size_t i = 0; i < sizeof serials / sizeof serials[0]; i++)
        add_file(&hash, serials[i]);
    add_number(&hash, (uint64_t)info.st_dev);
    emj_sha256_add(&hash, ":", 1);
    add_number(&hash, (uint64_t)info.st_ino);
    emj_sha256_end(&hash, digest);
    memcpy(place, digest, 16);
    return EM_OK;
}

/* ---- the callbacks ----------------------------------------------------------------------------------------------- */

static int store_size(void *user, uint64_t *size)
{
    posix_store *store = user;
    struct stat info;
    if (store->fd < 0)
        return EM_ERR_NOT_FOUND;
    if (fstat(store->fd, &info) != 0 || info.st_size < 0)
        return EM_ERR_IO;
    *size = (uint64_t)info.st_size;
    return EM_OK;
}

static int store_read(void *user, uint64_t offset, void *data, size_t size)
{
    posix_store *store = user;
    uint8_t *to = data;
    while (size > 0) {
        ssize_t got = pread(store->fd, to, size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return EM_ERR_IO; /* it has become shorter, or the disk cannot read it */
        to += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return EM_OK;
}

/* Everything or nothing acknowledged; a disk that is nearly full takes a part. */
static int write_all(int fd, uint64_t offset, const void *data, size_t size)
{
    const uint8_t *from = data;
    while (size > 0) {
        ssize_t done = pwrite(fd, from, size, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return EM_ERR_IO;
        from += done;
        offset += (uint64_t)done;
        size -= (size_t)done;
    }
    return EM_OK;
}

/* Whether the name still leads to the open file. */
static int is_same(const posix_store *store, struct stat *mine)
{
    struct stat named;
    if (fstat(store->fd, mine) != 0 || stat(store->path, &named) != 0)
        return 0;
    return named.st_dev == mine->st_dev && named.st_ino == mine->st_ino;
}

static int is_owner(const posix_store *store)
{
    return !store->readonly && store->pid == getpid(); /* a child after a fork must open it itself */
}

static int store_append(void *user, uint64_t offset, const void *data, size_t size)
{
    posix_store *store = user;
    struct stat mine;
    /* Something that takes no lock may have changed it: a backup restored over it, a deletion, an editor. */
    if (!is_owner(store) || !is_same(store, &mine) || (uint64_t)mine.st_size != offset)
        return EM_ERR_IO;
    return write_all(store->fd, offset, data, size);
}

static int sync_file(int fd)
{
#if defined(__APPLE__)
    return fcntl(fd, F_FULLFSYNC) == -1 ? EM_ERR_IO : EM_OK; /* fsync only reaches the drive's cache */
#else
    return fdatasync(fd) != 0 ? EM_ERR_IO : EM_OK; /* includes the length */
#endif
}

static int store_sync(void *user)
{
    posix_store *store = user;
    return is_owner(store) ? sync_file(store->fd) : EM_ERR_IO;
}

static int store_truncate(void *user, uint64_t size)
{
    posix_store *store = user;
    return is_owner(store) && ftruncate(store->fd, (off_t)size) == 0 ? EM_OK : EM_ERR_IO;
}

/* Make the names in the file's folder durable. */
static int sync_folder(posix_store *store)
{
    size_t size = strlen(store->path);
    while (size > 1 && store->path[size - 1] != '/')
        size--;
    memcpy(store->other, store->path, size);
    store->other[size] = '\0';
    int fd = open(store->other, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return EM_ERR_IO;
    int status = fsync(fd) == 0 ? EM_OK : EM_ERR_IO;
    close(fd);
    return status;
}

typedef struct new_file {
    int fd;
    uint64_t size;
} new_file;

static int write_new(void *sink, const void *data, size_t size)
{
    new_file *file = sink;
    int status = write_all(file->fd, file->size, data, size);
    file->size += size;
    return status;
}

/* The new file has the mode of the old one, and its owner where that can be given. */
static int keep_owner(const posix_store *store, int fd)
{
    struct stat mine;
    if (store->fd < 0)
        return EM_OK;
    if (!is_same(store, &mine) || fchmod(fd, mine.st_mode & 07777) != 0)
        return EM_ERR_IO;
    if (fchown(fd, mine.st_uid, mine.st_gid) != 0)
        return EM_OK; /* only root can give a file away */
    return EM_OK;
}

static int fill_new(const posix_store *store, int fd, em_make make, void *maker)
{
    new_file file = {fd, 0};
    uint8_t place[16];
    int status = keep_owner(store, fd);
    if (status == EM_OK)
        status = place_of(fd, place);
    if (status == EM_OK)
        status = make(maker, place, write_new, &file);
    return status < 0 ? status : sync_file(fd);
}

static int store_replace(void *user, em_make make, void *maker)
{
    posix_store *store = user;
    struct stat mine;
    if (!is_owner(store) || (store->fd >= 0 && !is_same(store, &mine)))
        return EM_ERR_IO;
    int fd = open(with_ending(store, ".new"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return EM_ERR_IO;
    int status = fill_new(store, fd, make, maker);
    if (status == EM_OK && rename(with_ending(store, ".new"), store->path) != 0)
        status = EM_ERR_IO;
    if (status < 0) {
        close(fd);
        unlink(with_ending(store, ".new"));
        return status;
    }
    if (store->fd >= 0)
        close(store->fd);
    store->fd = fd;
    return sync_folder(store);
}

static int store_place(void *user, uint8_t *place)
{
    posix_store *store = user;
    return place_of(store->fd, place);
}

static int store_random(void *user, void *data, size_t size)
{
    uint8_t *to = data;
    size_t at = 0;
    (void)user;
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && at < size) {
        ssize_t got = read(fd, to + at, size - at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        at += (size_t)got;
    }
    if (fd >= 0)
        close(fd);
    if (at != size)
        return EM_ERR_IO;
    if (size == 16) { /* a uuid in the form of RFC 9562 version 4 */
        to[6] = (uint8_t)((to[6] & 0x0f) | 0x40);
        to[8] = (uint8_t)((to[8] & 0x3f) | 0x80);
    }
    return EM_OK;
}

/* ---- opening and closing ----------------------------------------------------------------------------------------- */

/* The real path of a file that may not be there yet: its folder's, then its name. */
static int find_path(posix_store *store, const char *path)
{
    size_t size = strlen(path), folder = size;
    if (size == 0 || size >= PATH_MAX)
        return EM_ERR_SIZE;
    if (realpath(path, store->path) != NULL)
        return strlen(store->path) < PATH_MAX ? EM_OK : EM_ERR_SIZE;
    if (errno != ENOENT)
        return EM_ERR_IO;
    while (folder > 0 && path[folder - 1] != '/')
        folder--;
    memcpy(store->other, folder ? path : "./", folder ? folder : 2);
    store->other[folder ? folder : 2] = '\0';
    if (folder == size || realpath(store->other, store->path) == NULL)
        return EM_ERR_NOT_FOUND;
    size_t at = strlen(store->path);
    if (at + 1 + size - folder >= PATH_MAX)
        return EM_ERR_SIZE;
    if (store->path[at - 1] != '/')
        store->path[at++] = '/';
    memcpy(store->path + at, path + folder, size - folder + 1);
    return EM_OK;
}

static int take_lock(posix_store *store)
{
    store->lock = open(with_ending(store, ".lock"), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (store->lock < 0)
        return errno == ENOENT || errno == ENOTDIR ? EM_ERR_NOT_FOUND : EM_ERR_IO;
    if (flock(store->lock, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK || errno == EACCES ? EM_ERR_STATE : EM_ERR_IO;
    return EM_OK;
}

static int open_file(posix_store *store)
{
    struct stat info;
    /* Non-blocking: a FIFO of that name must not hang us. */
    store->fd = open(store->path, (store->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (store->fd < 0 && errno != ENOENT)
        return errno == EISDIR ? EM_ERR_DAMAGED : EM_ERR_IO;
    if (store->fd < 0)
        return store->readonly ? EM_ERR_NOT_FOUND : EM_OK;
    if (fstat(store->fd, &info) != 0)
        return EM_ERR_IO;
    return S_ISREG(info.st_mode) ? EM_OK : EM_ERR_DAMAGED;
}

size_t em_posix_size(void)
{
    return sizeof(posix_store);
}

int em_posix_open(void *memory, size_t size, const char *path, int readonly, em_store *out)
{
    int status = em_check_memory(memory, size, sizeof(posix_store));
    if (status < 0 || path == NULL || out == NULL)
        return status < 0 ? status : EM_ERR_NULL;
    posix_store *store = memory;
    em_store opened = {store,          store_size,    store_read,  store_append, store_sync,
                       store_truncate, store_replace, store_place, store_random};
    store->fd = store->lock = -1;
    store->readonly = readonly != 0;
    store->pid = getpid();
    status = find_path(store, path);
    if (status == EM_OK && !readonly)
        status = take_lock(store);
    if (status == EM_OK)
        status = open_file(store);
    if (status < 0) {
        em_posix_close(&opened);
        return status;
    }
    if (!readonly)
        unlink(with_ending(store, ".new")); /* left by a cut of power; it may hold what was forgotten since */
    *out = opened;
    return EM_OK;
}

int em_posix_replaced(const em_store *store)
{
    struct stat mine;
    if (store == NULL || store->user == NULL)
        return EM_ERR_NULL;
    return !is_same(store->user, &mine);
}

void em_posix_close(em_store *store)
{
    posix_store *mine;
    if (store == NULL || store->user == NULL)
        return;
    mine = store->user;
    if (mine->fd >= 0)
        close(mine->fd);
    if (mine->lock >= 0)
        close(mine->lock);
    mine->fd = mine->lock = -1;
}

#else

size_t em_posix_size(void)
{
    return 0;
}

int em_posix_open(void *memory, size_t size, const char *path, int readonly, em_store *out)
{
    (void)memory, (void)size, (void)path, (void)readonly, (void)out;
    return EM_ERR_UNSUPPORTED;
}

int em_posix_replaced(const em_store *store)
{
    (void)store;
    return EM_ERR_UNSUPPORTED;
}

void em_posix_close(em_store *store)
{
    (void)store;
}

#endif

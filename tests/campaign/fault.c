/* Counts what a process changes below one folder, and at the n-th change kills it, or lets the call fail.
 *
 * Built by tests/campaign/shim.py and preloaded; nothing happens before seas_fault_arm is called. Libraries that make system calls
 * without the C library are not seen, nor are pages written through a mapping.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 65536
static char root[PATH_MAX];
static size_t root_length;
static atomic_long count, room;      /* operations so far; bytes that still fit, below 0 for any number */
static long at;                      /* the operation that fails; 0 for none */
static int error, once;              /* 0 kills; else errno, of this operation alone or of all from it on */
static atomic_char watched[FILES];   /* descriptors opened below root */

void seas_fault_arm(const char *folder, long nth, int number, int alone, long bytes)
{
    strncpy(root, folder, sizeof root - 1);
    root_length = strlen(root);
    at = nth, error = number, once = alone;
    atomic_store(&count, 0);
    atomic_store(&room, bytes);
}

long seas_fault_count(void) { return atomic_load(&count); }

static int below(const char *path) { return root_length && path && strncmp(path, root, root_length) == 0; }

static int watching(int fd) { return root_length && fd >= 0 && fd < FILES && atomic_load(&watched[fd]); }

static int below_at(int dir, const char *path) { return path && path[0] == '/' ? below(path) : watching(dir); }

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Whether the operation now begun shall fail, with errno set; does not return from a kill, but where `torn` asks for half of it. */
static int fails(int *torn)
{
    long number = atomic_fetch_add(&count, 1) + 1;
    if (!at || number < at || (number > at && (once || !error))) return 0;
    if (!error) {
        if (torn && (number & 1)) { *torn = 1; return 0; }
        die();
    }
    errno = error;
    return 1;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int note(int fd, int is_below)
{
    if (fd >= 0 && fd < FILES) atomic_store(&watched[fd], is_below);
    return fd;
}

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)); }

static mode_t mode_of(int flags, va_list more) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; }

#define OPEN(name) \
int name(const char *path, int flags, ...) \
{ \
    REAL(name); \
    va_list more; va_start(more, flags); mode_t mode = mode_of(flags, more); va_end(more); \
    int ours = below(path); \
    if (ours && changes(flags) && fails(NULL)) return -1; \
    return note(real(path, flags, mode), ours); \
}
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
int name(int dir, const char *path, int flags, ...) \
{ \
    REAL(name); \
    va_list more; va_start(more, flags); mode_t mode = mode_of(flags, more); va_end(more); \
    int ours = below_at(dir, path); \
    if (ours && changes(flags) && fails(NULL)) return -1; \
    return note(real(dir, path, flags, mode), ours); \
}
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
FILE *name(const char *path, const char *mode) \
{ \
    REAL(name); \
    int ours = below(path); \
    if (ours && strpbrk(mode, "wa+") && fails(NULL)) return NULL; \
    FILE *stream = real(path, mode); \
    if (stream) note(fileno(stream), ours); \
    return stream; \
}
FOPEN(fopen)
FOPEN(fopen64)

int close(int fd)
{
    REAL(close);
    if (fd >= 0 && fd < FILES) atomic_store(&watched[fd], 0);
    return real(fd);
}

/* Bytes of `size` that fit on the small disk, -1 with errno where none does. */
static ssize_t fitting(size_t size)
{
    long left = atomic_load(&room);
    if (left < 0 || size == 0) return (ssize_t)size;
    if (left == 0) { errno = ENOSPC; return -1; }
    size_t taken = (size_t)left < size ? (size_t)left : size;
    atomic_fetch_sub(&room, (long)taken);
    return (ssize_t)taken;
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    if (!watching(fd)) return real(fd, data, size);
    int torn = 0;
    if (fails(&torn)) return -1;
    if (torn) { real(fd, data, size / 2); die(); }
    ssize_t fit = fitting(size);
    return fit < 0 ? -1 : real(fd, data, (size_t)fit);
}

#define PWRITE(name, offset_t) \
ssize_t name(int fd, const void *data, size_t size, offset_t offset) \
{ \
    REAL(name); \
    if (!watching(fd)) return real(fd, data, size, offset); \
    if (fails(NULL)) return -1; \
    ssize_t fit = fitting(size); \
    return fit < 0 ? -1 : real(fd, data, (size_t)fit, offset); \
}
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

#define SENDFILE(name, offset_t) \
ssize_t name(int out, int in, offset_t *offset, size_t size) \
{ \
    REAL(name); \
    if (!watching(out)) return real(out, in, offset, size); \
    if (fails(NULL)) return -1; \
    if (atomic_load(&room) < 0) return real(out, in, offset, size); \
    errno = EINVAL; /* as file systems without it say; the caller then copies by itself */ \
    return -1; \
}
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t size, unsigned flags)
{
    REAL(copy_file_range);
    if (!watching(out)) return real(in, from, out, to, size, flags);
    if (fails(NULL)) return -1;
    if (atomic_load(&room) < 0) return real(in, from, out, to, size, flags);
    errno = EXDEV;
    return -1;
}

#define ON_PATH(name, parameters, path, arguments) \
int name parameters { REAL(name); return below(path) && fails(NULL) ? -1 : real arguments; }
#define ON_DIR(name, parameters, dir, path, arguments) \
int name parameters { REAL(name); return below_at(dir, path) && fails(NULL) ? -1 : real arguments; }
#define ON_FILE(name, parameters, fd, arguments) \
int name parameters { REAL(name); return watching(fd) && fails(NULL) ? -1 : real arguments; }

ON_PATH(rename, (const char *from, const char *to), to, (from, to))
ON_PATH(unlink, (const char *path), path, (path))
ON_PATH(rmdir, (const char *path), path, (path))
ON_PATH(mkdir, (const char *path, mode_t mode), path, (path, mode))
ON_PATH(link, (const char *from, const char *to), to, (from, to))
ON_PATH(symlink, (const char *from, const char *to), to, (from, to))
ON_PATH(truncate, (const char *path, off_t size), path, (path, size))
ON_DIR(renameat, (int a, const char *from, int b, const char *to), b, to, (a, from, b, to))
ON_DIR(renameat2, (int a, const char *from, int b, const char *to, unsigned flags), b, to, (a, from, b, to, flags))
ON_DIR(unlinkat, (int dir, const char *path, int flags), dir, path, (dir, path, flags))
ON_DIR(mkdirat, (int dir, const char *path, mode_t mode), dir, path, (dir, path, mode))
ON_FILE(fsync, (int fd), fd, (fd))
ON_FILE(fdatasync, (int fd), fd, (fd))
ON_FILE(ftruncate, (int fd, off_t size), fd, (fd, size))
ON_FILE(ftruncate64, (int fd, off64_t size), fd, (fd, size))

/* Counts the calls that open or change files in some folders, and large allocations, in all processes of a command, and
   lets the n-th of them fail. It is preloaded (LD_PRELOAD), so it stands between the C library and all that calls it:
   Python, Rust and C++ alike. What it is to do stands in a file that all of these processes map: see filefaults.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef __LP64__
#error "64-bit systems only: the calls with and without 64 in their names are the same there"
#endif

/* Kinds of faults that are not the number of an error. */
enum { SHORT = -1, KILL_ONE = -2, KILL_ALL = -3 };
/* What is counted. Allocations count in processes that were forked and not replaced since: the workers. */
enum { CALLS = 0, ALLOCATIONS = 1 };
/* What can be wrong with a call: any may have an I/O error. */
enum { MAKES = 1 /* takes room */, WRITES = 2 /* may be short */, WAITS = 4 /* may be interrupted */, OPENS = 8 };

struct state {
    _Atomic uint32_t at;      /* number of what fails, from 1; 0: nothing fails */
    _Atomic int32_t kind;
    _Atomic uint32_t counted; /* CALLS or ALLOCATIONS */
    _Atomic uint32_t lasting; /* whether all later calls that take room fail, too */
    _Atomic uint32_t bytes;   /* smallest allocation that counts */
    _Atomic uint32_t count[2];
    _Atomic uint32_t hits;
    _Atomic int32_t happened; /* the kind of the first fault that happened */
    char hit[1024];           /* what was hit first, for people */
    char folders[2048];       /* absolute, a newline behind each */
};

static struct state *shared;
static pid_t loaded_by;
/* Whether this process only prepares runs: what it calls does not count, nor does what its forks call before they begin. */
static int idle;

__attribute__((constructor)) static void load(void)
{
    const char *name = getenv("FILEFAULTS");
    int fd = name ? (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = (void *)syscall(SYS_mmap, NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    loaded_by = getpid();
    if (mapped != MAP_FAILED)
        shared = mapped;
}

/* What a process calls that forks runs. */
void filefaults_idle(void) { idle = 1; }

/* What a process calls that was forked to be a run of its own: it is none of the workers. */
void filefaults_begin(void)
{
    loaded_by = getpid();
    idle = 0;
}

static int is_watched(const char *path)
{
    for (const char *folder = shared->folders; *folder;) {
        const char *end = strchr(folder, '\n');
        size_t length = (size_t)(end - folder);
        if (!strncmp(path, folder, length) && (path[length] == '/' || !path[length]))
            return 1;
        folder = end + 1;
    }
    return 0;
}

/* The absolute path of an open file. */
static void name_of(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    path[length < 0 ? 0 : length] = 0;
}

static void absolute(int folder, const char *given, char *path)
{
    if (*given == '/') {
        snprintf(path, PATH_MAX, "%s", given);
        return;
    }
    char base[PATH_MAX];
    if (folder != AT_FDCWD)
        name_of(folder, base);
    else if (!getcwd(base, sizeof base))
        *base = 0;
    snprintf(path, PATH_MAX, "%.2000s/%.2000s", base, given);
}

/* Count one of them; return 0 if it is not to fail, else the kind of its fault. */
static int count(int counted, const char *call, const char *path, int can)
{
    if (idle)
        return 0;
    uint32_t number = atomic_fetch_add(&shared->count[counted], 1) + 1, at = shared->at;
    if (!at || shared->counted != (uint32_t)counted)
        return 0;
    if (number != at && !(number > at && shared->lasting && can & MAKES))
        return 0;
    int kind = shared->kind;
    /* What cannot happen to this call: an I/O error can always. */
    if ((kind == SHORT && !(can & WRITES)) || (kind == EINTR && !(can & WAITS)) || (kind == EMFILE && !(can & OPENS))
        || ((kind == ENOSPC || kind == EDQUOT) && !(can & MAKES)))
        kind = EIO;
    if (!atomic_fetch_add(&shared->hits, 1)) {
        shared->happened = kind;
        snprintf(shared->hit, sizeof shared->hit, "%s %.900s in %s (%d)", call, path,
                 getpid() == loaded_by ? "a process" : "a worker", getpid());
    }
    if (kind == KILL_ALL)
        kill(0, SIGKILL);
    if (kind == KILL_ONE || kind == KILL_ALL)
        kill(getpid(), SIGKILL);
    return kind;
}

/* Whether a call on a path is to fail; then errno says why. */
static int fails(const char *call, int folder, const char *given, int can)
{
    int before = errno, kind = 0;
    if (shared && given) {
        char path[PATH_MAX];
        absolute(folder, given, path);
        if (is_watched(path))
            kind = count(CALLS, call, path, can);
    }
    errno = kind ? kind : before;
    return kind != 0;
}

/* The same for a call on an open file, which may also write less than it is given: then the answer is SHORT. */
static int fails_open(const char *call, int fd, int can)
{
    int before = errno, kind = 0;
    if (shared) {
        char path[PATH_MAX];
        name_of(fd, path);
        if (is_watched(path))
            kind = count(CALLS, call, path, can);
    }
    errno = kind > 0 ? kind : before;
    return kind;
}

#define NEXT(name, ...)                                                                                                \
    static __typeof__(&name) next;                                                                                     \
    if (!next)                                                                                                         \
        next = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                                             \
    return next(__VA_ARGS__)

#define SAME(name, other) extern __typeof__(name) other __attribute__((alias(#name)))

#define MODE                                                                                                           \
    mode_t mode = 0;                                                                                                   \
    if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {                                                         \
        va_list rest;                                                                                                  \
        va_start(rest, flags);                                                                                         \
        mode = va_arg(rest, mode_t);                                                                                   \
        va_end(rest);                                                                                                  \
    }

static int opening(int flags) { return OPENS | WAITS | (flags & O_CREAT ? MAKES : 0); }

/* ---- OPEN ------------------------------------------------------------------------------------------------------ */

int open(const char *path, int flags, ...)
{
    MODE if (fails("open", AT_FDCWD, path, opening(flags))) return -1;
    NEXT(open, path, flags, mode);
}
SAME(open, open64);

int openat(int folder, const char *path, int flags, ...)
{
    MODE if (fails("openat", folder, path, opening(flags))) return -1;
    NEXT(openat, folder, path, flags, mode);
}
SAME(openat, openat64);

/* Programs built with _FORTIFY_SOURCE call these where no file is made. */
int __open_2(const char *path, int flags) { return open(path, flags); }
SAME(__open_2, __open64_2);
int __openat_2(int folder, const char *path, int flags) { return openat(folder, path, flags); }
SAME(__openat_2, __openat64_2);

int creat(const char *path, mode_t mode) { return open(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }
SAME(creat, creat64);

/* ---- WRITE ----------------------------------------------------------------------------------------------------- */

#define WRITE(name, fd, size, ...)                                                                                     \
    int kind = fails_open(#name, fd, MAKES | WRITES | WAITS);                                                          \
    if (kind > 0)                                                                                                      \
        return -1;                                                                                                     \
    if (kind == SHORT && size > 1)                                                                                     \
        size /= 2;                                                                                                     \
    NEXT(name, __VA_ARGS__)

ssize_t write(int fd, const void *data, size_t size) { WRITE(write, fd, size, fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { WRITE(pwrite, fd, size, fd, data, size, at); }
SAME(pwrite, pwrite64);
ssize_t writev(int fd, const struct iovec *parts, int size) { WRITE(writev, fd, size, fd, parts, size); }
ssize_t pwritev(int fd, const struct iovec *parts, int size, off_t at) { WRITE(pwritev, fd, size, fd, parts, size, at); }
SAME(pwritev, pwritev64);
ssize_t sendfile(int fd, int from, off_t *at, size_t size) { WRITE(sendfile, fd, size, fd, from, at, size); }
SAME(sendfile, sendfile64);
ssize_t copy_file_range(int from, off64_t *at, int fd, off64_t *to, size_t size, unsigned flags)
{
    WRITE(copy_file_range, fd, size, from, at, fd, to, size, flags);
}

#define CHANGE(name, fd, can, ...)                                                                                     \
    if (fails_open(#name, fd, can) > 0)                                                                                \
        return -1;                                                                                                     \
    NEXT(name, __VA_ARGS__)

int ftruncate(int fd, off_t size) { CHANGE(ftruncate, fd, MAKES | WAITS, fd, size); }
SAME(ftruncate, ftruncate64);
int fallocate(int fd, int mode, off_t at, off_t size) { CHANGE(fallocate, fd, MAKES | WAITS, fd, mode, at, size); }
SAME(fallocate, fallocate64);
int fsync(int fd) { CHANGE(fsync, fd, MAKES | WAITS, fd); }
int fdatasync(int fd) { CHANGE(fdatasync, fd, MAKES | WAITS, fd); }

int posix_fallocate(int fd, off_t at, off_t size)
{
    int kind = fails_open("posix_fallocate", fd, MAKES | WAITS);
    if (kind > 0)
        return kind;
    NEXT(posix_fallocate, fd, at, size);
}
SAME(posix_fallocate, posix_fallocate64);

/* ---- NAMES ----------------------------------------------------------------------------------------------------- */

#define NAME(name, folder, path, can, ...)                                                                             \
    if (fails(#name, folder, path, can))                                                                               \
        return -1;                                                                                                     \
    NEXT(name, __VA_ARGS__)

int rename(const char *from, const char *to) { NAME(rename, AT_FDCWD, to, MAKES, from, to); }
int renameat(int f, const char *from, int t, const char *to) { NAME(renameat, t, to, MAKES, f, from, t, to); }
int renameat2(int f, const char *from, int t, const char *to, unsigned flags)
{
    NAME(renameat2, t, to, MAKES, f, from, t, to, flags);
}
int link(const char *from, const char *to) { NAME(link, AT_FDCWD, to, MAKES, from, to); }
int linkat(int f, const char *from, int t, const char *to, int flags)
{
    NAME(linkat, t, to, MAKES, f, from, t, to, flags);
}
int mkdir(const char *path, mode_t mode) { NAME(mkdir, AT_FDCWD, path, MAKES, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { NAME(mkdirat, folder, path, MAKES, folder, path, mode); }
int unlink(const char *path) { NAME(unlink, AT_FDCWD, path, 0, path); }
int unlinkat(int folder, const char *path, int flags) { NAME(unlinkat, folder, path, 0, folder, path, flags); }
int rmdir(const char *path) { NAME(rmdir, AT_FDCWD, path, 0, path); }

/* ---- MEMORY ---------------------------------------------------------------------------------------------------- */

static int lacks(const char *call, size_t size)
{
    if (!shared || size < shared->bytes || getpid() == loaded_by)
        return 0;
    char text[32];
    snprintf(text, sizeof text, "of %zu bytes", size);
    if (count(ALLOCATIONS, call, text, MAKES) <= 0)
        return 0;
    errno = ENOMEM;
    return 1;
}

/* The C library's own names of these, because dlsym allocates. */
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

void *malloc(size_t size) { return lacks("malloc", size) ? NULL : __libc_malloc(size); }
void *realloc(void *old, size_t size) { return lacks("realloc", size) ? NULL : __libc_realloc(old, size); }
void *memalign(size_t step, size_t size) { return lacks("memalign", size) ? NULL : __libc_memalign(step, size); }
SAME(memalign, aligned_alloc);

void *calloc(size_t number, size_t size)
{
    size_t all;
    if (__builtin_mul_overflow(number, size, &all) || lacks("calloc", all))
        return NULL;
    return __libc_calloc(number, size);
}

int posix_memalign(void **made, size_t step, size_t size)
{
    void *found = lacks("posix_memalign", size) ? NULL : __libc_memalign(step, size);
    if (!found)
        return ENOMEM;
    *made = found;
    return 0;
}

void *mmap(void *where, size_t size, int allowed, int flags, int fd, off_t at)
{
    /* Memory that is only reserved, or that a file has, needs none. */
    if (flags & MAP_ANONYMOUS && allowed != PROT_NONE && lacks("mmap", size))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, where, size, allowed, flags, fd, at);
}
SAME(mmap, mmap64);

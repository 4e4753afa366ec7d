/* Preloaded into a process: ends it at its n-th rename, or fails its n-th write, below one folder.

   A page shared with the parent says what to do and counts what was done; see chaos_parent.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_FILES 65536

struct page {
    char prefix[PATH_MAX];
    int renames, files;          /* counted */
    int kill_at_rename, after;   /* the number of the rename, from 1; 0: never */
    int fail_at_file, error;     /* from the first write to the n-th file on; 0: never */
    int only_once;               /* whether only the first write fails */
    int failed;
    int seen;
    ino_t inodes[MAX_FILES];
};

static struct page *page;

struct page *chaos_page(void) {
    if (!page) {
        void *made = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        page = made == MAP_FAILED ? NULL : made;
    }
    return page;
}

static int below(const char *path) {
    return page && page->prefix[0] && strncmp(path, page->prefix, strlen(page->prefix)) == 0;
}

/* Whether this write fails. */
static int fails(int descriptor) {
    struct stat status;
    char link[64], path[PATH_MAX];
    ssize_t length;
    int before = errno, failed = 0;
    if (!page || !page->prefix[0] || fstat(descriptor, &status) || !S_ISREG(status.st_mode))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0)
        return 0;
    path[length] = 0;
    if (!below(path))
        return 0;
    int known = 0;
    for (int i = 0; i < page->seen && !known; i++)
        known = page->inodes[i] == status.st_ino;
    if (!known && page->seen < MAX_FILES) {
        page->inodes[page->seen++] = status.st_ino;
        page->files++;
    }
    if (page->fail_at_file && page->files >= page->fail_at_file)
        failed = !page->only_once || !page->failed;
    if (failed) {
        page->failed++;
        errno = page->error;
    }
    return failed;
}

#define REAL(name) static __typeof__(name) *real; if (!real) real = dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *buffer, size_t count) {
    REAL(write);
    return fails(fd) ? -1 : real(fd, buffer, count);
}
ssize_t writev(int fd, const struct iovec *vector, int count) {
    REAL(writev);
    return fails(fd) ? -1 : real(fd, vector, count);
}
ssize_t pwrite(int fd, const void *buffer, size_t count, off_t offset) {
    REAL(pwrite);
    return fails(fd) ? -1 : real(fd, buffer, count, offset);
}
ssize_t pwrite64(int fd, const void *buffer, size_t count, off64_t offset) {
    REAL(pwrite64);
    return fails(fd) ? -1 : real(fd, buffer, count, offset);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t count) {
    REAL(sendfile);
    return fails(out) ? -1 : real(out, in, offset, count);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t count) {
    REAL(sendfile64);
    return fails(out) ? -1 : real(out, in, offset, count);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t count, unsigned flags) {
    REAL(copy_file_range);
    return fails(out) ? -1 : real(in, from, out, to, count, flags);
}
int posix_fallocate(int fd, off_t offset, off_t length) {
    REAL(posix_fallocate);
    return fails(fd) ? page->error : real(fd, offset, length);
}
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    REAL(posix_fallocate64);
    return fails(fd) ? page->error : real(fd, offset, length);
}
int fsync(int fd) {
    REAL(fsync);
    return fails(fd) ? -1 : real(fd);
}

static int counts(const char *target) {
    char path[PATH_MAX];
    if (target[0] != '/' && getcwd(path, sizeof path - 1)) {
        size_t length = strlen(path);
        snprintf(path + length, sizeof path - length, "/%s", target);
        target = path;
    }
    return below(target) && ++page->renames == page->kill_at_rename;
}

int rename(const char *from, const char *to) {
    REAL(rename);
    int due = counts(to);
    if (due && !page->after)
        kill(getpid(), SIGKILL);
    int result = real(from, to);
    if (due)
        kill(getpid(), SIGKILL);
    return result;
}

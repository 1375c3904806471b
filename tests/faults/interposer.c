/* Fails one call on a file below a folder: loaded by LD_PRELOAD, armed from Python.

   Every change of a file system is a call of libc that this library stands in front of:
   those of Python, of TensorFlow and of libsndfile alike. Calls on files below the
   folder are counted; call number n is the one that fails. Opening for reading counts
   only where calls fail by EIO: it changes nothing that a kill could leave. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { COUNT, KILL, TORN, FULL, BROKEN };
enum { GROWS = 1, TEARS = 2, READS = 4 };

struct state {
  int calls;        /* calls so far, also after a kill: the memory is shared */
  char name[1024];  /* the call that failed */
  size_t length;
  char log[1 << 18]; /* a line for each call, with its path */
};

static struct state *state;
static char folder[4096];
static int fault, number;

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

int faults_arm(const char *below, int kind, int which) {
  if (!state)
    state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (state == MAP_FAILED) return -1;
  memset(state, 0, sizeof *state);
  snprintf(folder, sizeof folder, "%s", below);
  fault = kind;
  number = which;
  return 0;
}

int faults_kind(void) { return fault; }
int faults_calls(void) { return state->calls; }
const char *faults_name(void) { return state->name; }
const char *faults_log(void) { return state->log; }

static void note(const char *call, const char *path) {
  if (fault != COUNT || state->length + strlen(path) + 32 > sizeof state->log) return;
  state->length += sprintf(state->log + state->length, "%s %s\n", call, path);
}

static void die(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

static const char *path_of(int fd, char *into, size_t size) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, into, size - 1);
  into[length < 0 ? 0 : length] = 0;
  return into;
}

static int is_below(int at, const char *path) {
  char whole[4096] = "";
  if (!folder[0] || !path) return 0;
  if (path[0] != '/') {
    if (at == AT_FDCWD) {
      if (!getcwd(whole, sizeof whole)) return 0;
    } else {
      path_of(at, whole, sizeof whole);
    }
    size_t length = strlen(whole);
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    path = whole;
  }
  return !strncmp(path, folder, strlen(folder));
}

/* Counts a call; returns the error that it has to fail with, 0 for none, and -1 where
   half of it has to be done before the end. */
static int strike(const char *call, const char *path, int how) {
  if (how & READS && fault != BROKEN) return 0;
  int saved = errno, now = __atomic_add_fetch(&state->calls, 1, __ATOMIC_SEQ_CST);
  int is_hit = now == number || (fault == FULL && number > 0 && now > number);
  note(call, path);
  if (!is_hit || fault == COUNT) return 0;
  if (fault == FULL && !(how & GROWS)) return 0;
  if (!state->name[0])
    snprintf(state->name, sizeof state->name, "%s %s", call, path);
  errno = saved;
  if (fault == KILL) die();
  if (fault == TORN) return -1;
  if (fault == BROKEN) return EIO;
  return now == number && (how & TEARS) ? -1 : ENOSPC;
}

static int strike_fd(const char *call, int fd, int how) {
  char path[4096];
  if (!folder[0] || !is_below(AT_FDCWD, path_of(fd, path, sizeof path))) return 0;
  return strike(call, path, how);
}

static int strike_at(const char *call, int at, const char *path, int how) {
  return is_below(at, path) ? strike(call, path, how) : 0;
}

#define FAIL(error, value) do { if ((error) > 0) { errno = (error); return (value); } } while (0)
#define LAST(struck, result) do { if ((struck) < 0 && fault == TORN) die(); return result; } while (0)

#define OPEN(name, at, parameters, ...) \
  int name parameters { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
      va_list rest; \
      va_start(rest, flags); \
      mode = va_arg(rest, mode_t); \
      va_end(rest); \
    } \
    int struck = strike_at("open", at, path, flags & O_ACCMODE || flags & O_CREAT ? GROWS : READS); \
    FAIL(struck, -1); \
    int result = real(__VA_ARGS__, flags, mode); \
    LAST(struck, result); \
  }
OPEN(open, AT_FDCWD, (const char *path, int flags, ...), path)
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), path)
OPEN(openat, at, (int at, const char *path, int flags, ...), at, path)
OPEN(openat64, at, (int at, const char *path, int flags, ...), at, path)

#define FOPEN(name) \
  FILE *name(const char *path, const char *mode) { \
    REAL(name); \
    int struck = strike_at("fopen", AT_FDCWD, path, mode[0] == 'r' ? READS : GROWS); \
    FAIL(struck, NULL); \
    FILE *result = real(path, mode); \
    LAST(struck, result); \
  }
FOPEN(fopen)
FOPEN(fopen64)

ssize_t write(int fd, const void *data, size_t size) {
  REAL(write);
  int struck = strike_fd("write", fd, GROWS | TEARS);
  FAIL(struck, -1);
  ssize_t result = real(fd, data, struck ? (size + 1) / 2 : size);
  LAST(struck, result);
}

#define PWRITE(name, offset_t) \
  ssize_t name(int fd, const void *data, size_t size, offset_t offset) { \
    REAL(name); \
    int struck = strike_fd("pwrite", fd, GROWS | TEARS); \
    FAIL(struck, -1); \
    ssize_t result = real(fd, data, struck ? (size + 1) / 2 : size, offset); \
    LAST(struck, result); \
  }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(writev);
  int struck = strike_fd("writev", fd, GROWS);
  FAIL(struck, -1);
  ssize_t result = real(fd, parts, struck && count > 1 ? count / 2 : count);
  LAST(struck, result);
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
  REAL(fwrite);
  int struck = strike_fd("fwrite", fileno(file), GROWS | TEARS);
  FAIL(struck, 0);
  size_t result = real(data, size, struck ? count / 2 : count, file);
  if (struck) {
    fflush(file);
    if (fault == FULL) errno = ENOSPC;
  }
  LAST(struck, result);
}

int fflush(FILE *file) {
  REAL(fflush);
  int struck = file ? strike_fd("fflush", fileno(file), GROWS) : 0;
  FAIL(struck, EOF);
  int result = real(file);
  LAST(struck, result);
}

int fclose(FILE *file) {
  REAL(fclose);
  int struck = strike_fd("fclose", fileno(file), GROWS), result = real(file);
  FAIL(struck, EOF);
  LAST(struck, result);
}

#define SYNC(name) \
  int name(int fd) { \
    REAL(name); \
    int struck = strike_fd(#name, fd, GROWS); \
    FAIL(struck, -1); \
    int result = real(fd); \
    LAST(struck, result); \
  }
SYNC(fsync)
SYNC(fdatasync)

#define RENAME(name, at, parameters, ...) \
  int name parameters { \
    REAL(name); \
    if (is_below(at, to)) note("from", from); \
    int struck = strike_at(#name, at, to, 0); \
    FAIL(struck, -1); \
    int result = real(__VA_ARGS__); \
    LAST(struck, result); \
  }
RENAME(rename, AT_FDCWD, (const char *from, const char *to), from, to)
RENAME(renameat, at, (int old, const char *from, int at, const char *to), old, from, at, to)
RENAME(link, AT_FDCWD, (const char *from, const char *to), from, to)

#define PATH(name, at, path, how, parameters, ...) \
  int name parameters { \
    REAL(name); \
    int struck = strike_at(#name, at, path, how); \
    FAIL(struck, -1); \
    int result = real(__VA_ARGS__); \
    LAST(struck, result); \
  }
PATH(unlink, AT_FDCWD, path, 0, (const char *path), path)
PATH(unlinkat, at, path, 0, (int at, const char *path, int flags), at, path, flags)
PATH(rmdir, AT_FDCWD, path, 0, (const char *path), path)
PATH(mkdir, AT_FDCWD, path, GROWS, (const char *path, mode_t mode), path, mode)
PATH(mkdirat, at, path, GROWS, (int at, const char *path, mode_t mode), at, path, mode)

#define LENGTH(name, offset_t) \
  int name(int fd, offset_t length) { \
    REAL(name); \
    int struck = strike_fd("ftruncate", fd, GROWS); \
    FAIL(struck, -1); \
    int result = real(fd, length); \
    LAST(struck, result); \
  }
LENGTH(ftruncate, off_t)
LENGTH(ftruncate64, off64_t)

#define SEND(name, offset_t) \
  ssize_t name(int out, int in, offset_t *offset, size_t size) { \
    REAL(name); \
    int struck = strike_fd("sendfile", out, GROWS | TEARS); \
    FAIL(struck, -1); \
    struct stat status; \
    if (struck && !fstat(in, &status) && size > (size_t)status.st_size / 2) \
      size = (status.st_size + 1) / 2; \
    ssize_t result = real(out, in, offset, size); \
    LAST(struck, result); \
  }
SEND(sendfile, off_t)
SEND(sendfile64, off64_t)

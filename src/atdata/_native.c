/* The two inner loops of reading, for machines that can compile them; those of writing tables are in `_native_tables.c`,
   and those that decode DAG-CBOR in `_native_cbor.c`.

   Each has a form in numpy, which is the one that says what is right: `shards/scan.py` proves headers, and
   `samples/gather.py` decodes samples. What these loops do not know they leave to it: they may refuse anything,
   and accept nothing that it does not accept. No byte is believed before it is known to be inside its sample.

   Samples in files are decoded by threads of our own, which never need the interpreter. */

#include "_native.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096
#define WINDOW (1 << 18) /* bytes of a file that are looked at before the next are read: what a core's own cache holds */

#if defined(__GNUC__) || defined(__clang__)
#define WILL_READ(address) __builtin_prefetch(address)
#else
#define WILL_READ(address) ((void)0)
#endif

/* Read just these bytes of a file; whether all of them could be had. */
static int read_at(int file, uint8_t *into, int64_t count, int64_t position)
{
    while (count > 0) {
        ssize_t got = pread(file, into, (size_t)count, (off_t)position);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        into += got;
        position += got;
        count -= got;
    }
    return 1;
}

/* The same, `first` bytes into one place and those after them into another: with one call, as a rule. */
static int read_two(int file, uint8_t *one, int64_t first, uint8_t *two, int64_t second, int64_t position)
{
    struct iovec parts[2] = {{one, (size_t)first}, {two, (size_t)second}};
    if (preadv(file, parts, 2, (off_t)position) == first + second)
        return 1;
    return read_at(file, one, first, position) && read_at(file, two, second, position + first);
}

/* A window into a file: what is at `position` goes to the same place within a page. Some processors (AMD Zen 3) copy
   five times slower to a place that is up to 31 bytes further into its page than where the bytes come from. */
typedef struct {
    uint8_t *held, *pages;
} Window;

static int open_window(Window *window, int64_t room)
{
    window->held = malloc((size_t)room + 2 * PAGE);
    window->pages = window->held ? window->held + (-(uintptr_t)window->held & (PAGE - 1)) : NULL;
    return window->held != NULL;
}

static uint8_t *place_of(const Window *window, int64_t position) { return window->pages + (position & (PAGE - 1)); }

/* ---------------------------------------------------------------- headers of a shard (POSIX.1-1988 ustar) */

enum { MORE, END, UNUSUAL };

static int octal(const uint8_t *digits, int count, int64_t *value)
{
    int64_t number = 0;
    for (int i = 0; i < count; i++) {
        if ((digits[i] & 0xF8) != '0')
            return 0;
        number = number * 8 + (digits[i] & 7);
    }
    *value = number;
    return 1;
}

#if defined(__SSE2__)
#include <emmintrin.h>

static int64_t sum_of(const uint8_t *block)
{
    __m128i sums = _mm_setzero_si128();
    for (int i = 0; i < BLOCK; i += 16)
        sums = _mm_add_epi64(
            sums, _mm_sad_epu8(_mm_loadu_si128((const __m128i *)(const void *)(block + i)), _mm_setzero_si128()));
    return (int64_t)(_mm_cvtsi128_si32(sums) + _mm_cvtsi128_si32(_mm_srli_si128(sums, 8)));
}
#else
static int64_t sum_of(const uint8_t *block)
{
    const uint64_t even = 0x00FF00FF00FF00FFu;
    uint64_t lanes = 0, word;
    for (int i = 0; i < BLOCK; i += 8) { /* four sums of 128 bytes each: no lane runs over */
        memcpy(&word, block + i, 8);
        lanes += (word & even) + ((word >> 8) & even);
    }
    return (int64_t)((lanes & 0xFFFF) + ((lanes >> 16) & 0xFFFF) + ((lanes >> 32) & 0xFFFF) + (lanes >> 48));
}
#endif

static int all_zero(const uint8_t *bytes, size_t count)
{
    uint8_t any = 0;
    for (size_t i = 0; i < count; i++)
        any |= bytes[i];
    return !any;
}

/* The size in a header of the common form whose checksum is right. */
static int proved_size(const uint8_t *header, int64_t *size)
{
    int64_t stored, counted;
    if (memcmp(header + 257, "ustar", 6) || header[135] || header[154] || header[155] != ' ')
        return 0;
    if (!octal(header + 148, 6, &stored) || !octal(header + 124, 11, size))
        return 0;
    counted = sum_of(header) + 8 * ' ';
    for (int i = 148; i < 156; i++)
        counted -= header[i];
    return counted == stored;
}

/* Whether an extended header holds one record, and that says when the file was changed. */
static int only_time(const uint8_t *body, int64_t size)
{
    if (size < 20 || size > 99 || body[0] != '0' + size / 10 || body[1] != '0' + size % 10)
        return 0;
    return !memcmp(body + 2, " mtime=", 7) && body[size - 1] == '\n';
}

/* Whether the name is `{key}.msgpack`, ASCII, in no folder; and a number that equal names share. */
static int plain_name(const uint8_t *header, uint64_t *mark)
{
    static const char suffix[] = ".msgpack";
    const int tail = sizeof suffix - 1;
    int length = 0, dots = 0;
    uint64_t word, mixed = 0x9E3779B97F4A7C15u;
    while (length < 96 && header[length]) {
        if (header[length] > 127 || header[length] == '/')
            return 0;
        dots += header[length++] == '.';
    }
    if (length <= tail || dots != 1 || memcmp(header + length - tail, suffix, tail))
        return 0;
    if (header[345] || !all_zero(header + length, 100 - length))
        return 0;
    for (int i = 0; i < length; i += 8) {
        memcpy(&word, header + i, 8);
        mixed = (mixed ^ word) * 0xD6E8FEB86659FD93u;
        mixed ^= mixed >> 32;
    }
    *mark = mixed;
    return 1;
}

static int scan_headers(const uint8_t *memory, int64_t length, int64_t *position, int64_t *starts, int64_t *sizes,
                        uint64_t *marks, int64_t capacity, int64_t *count)
{
    int64_t at = *position, stride = 0, size;
    *count = 0;
    while (at + BLOCK <= length && *count < capacity) {
        const uint8_t *header = memory + at;
        int64_t here = at;
        if (at + stride + 3 * BLOCK <= length)
            for (int line = 0; line < 3 * BLOCK; line += 64)
                WILL_READ(header + stride + line);
        *position = at;
        if (!header[0] && all_zero(header, BLOCK))
            return END;
        if (!proved_size(header, &size))
            return UNUSUAL;
        if (header[156] == 'x') {
            if (at + 3 * BLOCK > length)
                return MORE;
            if (!only_time(header + BLOCK, size))
                return UNUSUAL;
            header += 2 * BLOCK;
            here += 2 * BLOCK;
            if (!proved_size(header, &size))
                return UNUSUAL;
        }
        if ((header[156] != '0' && header[156]) || !plain_name(header, marks + *count))
            return UNUSUAL;
        starts[*count] = here + BLOCK;
        sizes[*count] = size;
        ++*count;
        at = here + BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
        stride = at - *position;
    }
    *position = at;
    return MORE;
}

/* The same for a file, from a header on. What is between headers is passed over where it is long. */
static int scan_file(int file, int64_t size, const Window *window, int64_t *position, int64_t *starts, int64_t *sizes,
                     uint64_t *marks, int64_t capacity, int64_t *count)
{
    int64_t stride = 0;
    *count = 0;
    while (*count < capacity) {
        int64_t some, at = 0, length = stride > WINDOW / 4 ? 4 * BLOCK : WINDOW;
        if (length > size - *position)
            length = size - *position;
        uint8_t *bytes = place_of(window, *position);
        if (length < BLOCK || !read_at(file, bytes, length, *position))
            return UNUSUAL;
        int state = scan_headers(bytes, length, &at, starts + *count, sizes + *count, marks + *count,
                                 capacity - *count, &some);
        for (int64_t i = *count; i < *count + some; i++)
            starts[i] += *position;
        *count += some;
        *position += at;
        if (state != MORE || !some || *position > size)
            return state == MORE ? UNUSUAL : state;
        stride = at / some;
    }
    return MORE;
}

static PyObject *scan(PyObject *Py_UNUSED(self), PyObject *args)
{
    Py_buffer starts, sizes, marks;
    long long position, size;
    int64_t at, count = 0;
    int file, state = UNUSUAL;
    if (!PyArg_ParseTuple(args, "iLLw*w*w*", &file, &position, &size, &starts, &sizes, &marks))
        return NULL;
    Window window;
    at = position;
    if (open_window(&window, WINDOW) && at >= 0 && at <= size) {
        Py_ssize_t room = starts.len < sizes.len ? starts.len : sizes.len;
        room = (marks.len < room ? marks.len : room) / 8;
        Py_BEGIN_ALLOW_THREADS
        state = scan_file(file, size, &window, &at, starts.buf, sizes.buf, marks.buf, room, &count);
        Py_END_ALLOW_THREADS
    }
    free(window.held);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&sizes);
    PyBuffer_Release(&marks);
    return Py_BuildValue("iLL", state, (long long)count, (long long)at);
}

/* ---------------------------------------------------------------- samples to columns (msgpack, spec.md) */

enum { SAME, COPY, VALUE, SKIP, NUMBER, MASKED };
enum { INT, FLOAT, STR, BYTES, BOOL };

typedef struct {
    int64_t at;   /* of a text or bytes: where; of a number: its bits */
    int64_t size; /* of a text or bytes: how long; -1: nil */
} Cell;

typedef struct {
    int what, kind, optional;
    Py_buffer buffer;
    int64_t length; /* bytes that it takes in each sample, where all samples have as many */
    int64_t mask;   /* where in the buffer the bytes for nil begin */
    Cell *cells;
} Step;

/* Texts and bytes that were copied out of a window. */
typedef struct {
    uint8_t *bytes;
    int64_t used, room;
} Texts;

#define MAX_STEPS (1 << 14)
#define NEAR (1 << 13) /* bytes between samples that are read with them: headers, not the samples of another rank */
#define MOST ((int64_t)1 << 40) /* bytes of samples at a time */
#define AHEAD 3     /* samples */
#define AT_ONCE 4096 /* bytes */
#define FAR (1 << 16) /* bytes of an array that is read straight to where it is wanted */
#define MOST_THREADS 3

static uint64_t big_endian(const uint8_t *bytes, int count)
{
    uint64_t number = 0;
    for (int i = 0; i < count; i++)
        number = number << 8 | bytes[i];
    return number;
}

/* How long a value is: its token and length, then its payload. What nests or is of an extension type is unknown. */
static int extent(const uint8_t *value, const uint8_t *end, int64_t *head, int64_t *body)
{
    static const uint8_t bodies[] = {4, 8, 1, 2, 4, 8, 1, 2, 4, 8}; /* 0xca to 0xd3 */
    if (value >= end)
        return 0;
    uint8_t token = *value;
    int length = 0;
    *head = 1;
    *body = 0;
    if (token <= 0x7F || token >= 0xE0 || token == 0xC0 || token == 0xC2 || token == 0xC3)
        return 1;
    if (token >= 0xA0 && token <= 0xBF)
        *body = token & 31;
    else if (token >= 0xCA && token <= 0xD3)
        *body = bodies[token - 0xCA];
    else if (token >= 0xC4 && token <= 0xC6)
        length = 1 << (token - 0xC4);
    else if (token >= 0xD9 && token <= 0xDB)
        length = 1 << (token - 0xD9);
    else
        return 0;
    if (length) {
        *head += length;
        if (end - value < *head)
            return 0;
        *body = (int64_t)big_endian(value + 1, length);
    }
    return *body <= end - value - *head;
}

static int is_text(uint8_t token) { return (token >= 0xA0 && token <= 0xBF) || (token >= 0xD9 && token <= 0xDB); }

/* The next value, if it is of the step's kind, as a cell; how many bytes it takes, or -1. */
static int64_t read_value(const Step *step, const uint8_t *memory, const uint8_t *value, const uint8_t *end, Cell *cell)
{
    int64_t head, body;
    if (!extent(value, end, &head, &body))
        return -1;
    uint8_t token = *value;
    cell->size = 0;
    if (token == 0xC0) {
        cell->size = -1;
        return step->optional ? 1 : -1;
    }
    switch (step->kind) {
    case STR:
    case BYTES:
        if (step->kind == STR ? !is_text(token) : token < 0xC4 || token > 0xC6)
            return -1;
        cell->at = value + head - memory;
        cell->size = body;
        break;
    case FLOAT:
        if (token != 0xCB)
            return -1;
        cell->at = (int64_t)big_endian(value + 1, 8);
        break;
    case BOOL:
        if (token != 0xC2 && token != 0xC3)
            return -1;
        cell->at = token == 0xC3;
        break;
    default:
        if (token <= 0x7F || token >= 0xE0)
            cell->at = (int8_t)token;
        else if (token >= 0xCC && token <= 0xD3) {
            uint64_t number = big_endian(value + 1, (int)body);
            int spare = 64 - 8 * (int)body;
            if (token == 0xCF && number >> 63)
                return -1;
            cell->at = token < 0xD0 ? (int64_t)number : (int64_t)(number << spare) >> spare;
        } else
            return -1;
    }
    return head + body;
}

/* A sample that turns out to be unlike the others may hold more text than there is room for. */
static int keep_text(Texts *texts, const Step *step, const uint8_t *memory, Cell *cell)
{
    if (cell->size <= 0 || (step->kind != STR && step->kind != BYTES))
        return 1;
    if (cell->size > texts->room - texts->used)
        return 0;
    memcpy(texts->bytes + texts->used, memory + cell->at, (size_t)cell->size);
    cell->at = texts->used;
    texts->used += cell->size;
    return 1;
}

/* Where samples are. With large arrays in a file, `bytes` is the rest of one sample as far as it was read, and what
   comes next in the file is at `next`. */
typedef struct {
    uint8_t *bytes;
    int64_t length;
    int file; /* -1: all is in `bytes` */
    int64_t next;
} Source;

/* Read an array that begins at `at`, where some of it is already; what follows it takes its place. */
static int bring(Source *source, uint8_t *at, uint8_t *end, uint8_t *into, int64_t length)
{
    int64_t held = end - at, first = held < length ? held : length;
    memcpy(into, at, (size_t)first);
    memmove(at, at + first, (size_t)(held - first));
    if (!read_two(source->file, into + first, length - first, end - first, first, source->next))
        return 0;
    source->next += length;
    return 1;
}

/* Sample i, whose bytes are from `at` to `end`, to a row of its columns. Texts and bytes go on to `texts`, if that is
   given. */
static int run_sample(const Step *steps, int count, Source *source, uint8_t *at, uint8_t *end, int64_t i, int64_t row,
                      Texts *texts)
{
    for (const Step *step = steps; step < steps + count; step++) {
        int64_t taken = step->length, body;
        Cell cell;
        switch (step->what) {
        case SAME:
            if (end - at < taken || memcmp(at, step->buffer.buf, taken))
                return 0;
            break;
        case COPY:
            if (source->file >= 0 && taken >= FAR) {
                if (!bring(source, at, end, (uint8_t *)step->buffer.buf + row * taken, taken))
                    return 0;
                taken = 0;
                break;
            }
            if (end - at < taken)
                return 0;
            memcpy((uint8_t *)step->buffer.buf + row * taken, at, taken);
            break;
        case VALUE:
            taken = read_value(step, source->bytes, at, end, step->cells + i);
            if (taken < 0)
                return 0;
            if (texts && !keep_text(texts, step, source->bytes, step->cells + i))
                return 0;
            break;
        case NUMBER:
            taken = read_value(step, source->bytes, at, end, &cell);
            if (taken < 0)
                return 0;
            if (step->kind == BOOL)
                ((uint8_t *)step->buffer.buf)[row] = (uint8_t)cell.at;
            else
                ((int64_t *)step->buffer.buf)[row] = cell.at;
            break;
        case MASKED:
            cell.at = 0;
            taken = read_value(step, source->bytes, at, end, &cell);
            if (taken < 0)
                return 0;
            if (step->kind == BOOL)
                ((uint8_t *)step->buffer.buf)[row] = (uint8_t)cell.at;
            else
                ((int64_t *)step->buffer.buf)[row] = cell.at;
            ((uint8_t *)step->buffer.buf)[step->mask + row] = cell.size < 0;
            break;
        default:
            if (!extent(at, end, &taken, &body) || (!step->optional && is_text(*at)))
                return 0;
            taken += body;
        }
        at += taken;
    }
    return at == end;
}

/* Samples to decode.

   starts, sizes: where each is, counted from `base` of the file or of the memory.
   rows: in which row of the columns each belongs; NULL: from `first` on, one after the other. */
typedef struct {
    const Step *steps;
    int count;
    const int64_t *starts, *sizes, *rows;
    int64_t first, samples;
    Texts *texts;
} Work;

static int64_t row_of(const Work *work, int64_t i) { return work->rows ? work->rows[i] : work->first + i; }

/* Samples `first` to `last` - 1, out of bytes that begin at `base`. */
static int run_steps(const Work *work, Source *source, int64_t base, int64_t first, int64_t last)
{
    const int64_t *starts = work->starts, *sizes = work->sizes;
    for (int64_t i = first; i < last; i++) {
        int64_t start = starts[i] - base;
        if (start < 0 || sizes[i] < 0 || start > source->length || sizes[i] > source->length - start)
            return 0;
        if (i + AHEAD < last && starts[i + AHEAD] >= base && starts[i + AHEAD] - base < source->length) {
            int64_t soon = sizes[i + AHEAD] < AT_ONCE ? sizes[i + AHEAD] : AT_ONCE;
            for (int64_t line = 0; line < soon; line += 64)
                WILL_READ(source->bytes + (starts[i + AHEAD] - base) + line);
        }
        uint8_t *at = source->bytes + start;
        if (!run_sample(work->steps, work->count, source, at, at + sizes[i], i, row_of(work, i), work->texts))
            return 0;
    }
    return 1;
}

/* The same out of a file: a window of it is decoded while it is in this core's cache, then the next is read. */
static int read_near(const Work *work, int file, const Window *window, int64_t room)
{
    const int64_t *starts = work->starts, *sizes = work->sizes;
    for (int64_t first = 0, last; first < work->samples; first = last) {
        int64_t base = starts[first], stop = base + sizes[first];
        for (last = first + 1; last < work->samples; last++) {
            if (starts[last] < stop || starts[last] - stop > NEAR || starts[last] + sizes[last] - base > room)
                break;
            stop = starts[last] + sizes[last];
        }
        Source source = {place_of(window, base), stop - base, -1, 0};
        if (!read_at(file, source.bytes, stop - base, base) || !run_steps(work, &source, base, first, last))
            return 0;
    }
    return 1;
}

/* The same for samples with large arrays, `far` bytes in each: one at a time, of which the window holds the rest. */
static int read_far(const Work *work, int file, const Window *window, int64_t room, int64_t far)
{
    for (int64_t i = 0; i < work->samples; i++) {
        int64_t start = work->starts[i], rest = work->sizes[i] - far;
        if (rest < 0 || rest > room)
            return 0;
        Source source = {place_of(window, start), rest, file, start + rest};
        if (!read_at(file, source.bytes, rest, start) ||
            !run_sample(work->steps, work->count, &source, source.bytes, source.bytes + rest, i, row_of(work, i),
                        work->texts))
            return 0;
    }
    return 1;
}

/* How many bytes samples have together, and the longest of them; -1 where that is not to be believed. */
static int64_t total_of(const Work *work, int64_t *longest)
{
    int64_t total = 0;
    *longest = 0;
    for (int64_t i = 0; i < work->samples; i++) {
        int64_t start = work->starts[i], size = work->sizes[i];
        if (start < 0 || size < 0 || start > INT64_MAX / 4 || size > INT64_MAX / 4 || (total += size) > MOST)
            return -1;
        if (size > *longest)
            *longest = size;
    }
    return total;
}

static int run_file(Work *work, int file, Texts *texts)
{
    int alike = 0;
    int64_t longest, total = total_of(work, &longest), fixed = 0, far = 0;
    for (int i = 0; i < work->count; i++) { /* what all samples have, and what is no text */
        fixed += work->steps[i].length;
        far += work->steps[i].what == COPY && work->steps[i].length >= FAR ? work->steps[i].length : 0;
    }
    if (total < 0 || fixed > MOST || (work->samples && total / work->samples < fixed))
        return 0;
    int64_t room = longest - far > WINDOW ? longest - far : WINDOW;
    texts->used = 0;
    texts->room = total - work->samples * fixed;
    free(texts->bytes);
    texts->bytes = malloc((size_t)texts->room + 1); /* pages that are not written to cost nothing */
    work->texts = texts;
    Window window;
    if (open_window(&window, room) && texts->bytes)
        alike = far ? read_far(work, file, &window, room, far) : read_near(work, file, &window, room);
    free(window.held);
    return alike;
}

/* ---------------------------------------------------------------- threads that need nothing of the interpreter */

enum { QUEUED, RUNNING, DONE };

/* Samples of one source, to be decoded. */
typedef struct Job {
    struct Job *next;
    int state, alike;
    unsigned process;
    int file; /* our own descriptor, or -1: `memory` */
    Py_buffer memory, starts, sizes, rows;
    Step *steps;
    Work work;
    Texts texts;
} Job;

/* Threads take what comes first. Who waits for a job does the same, so all goes on where no thread could be started.
   They wait for work until the process ends: none of them ever holds the interpreter's lock. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t work, done;
    Job *first, *last;
    int threads;
    unsigned process; /* how many forks ago the first one was: after a fork there are no threads, and no work */
} pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, NULL, 0, 0};

static void run_job(Job *job)
{
    if (job->file >= 0)
        job->alike = run_file(&job->work, job->file, &job->texts);
    else {
        Source source = {job->memory.buf, job->memory.len, -1, 0};
        job->alike = run_steps(&job->work, &source, 0, 0, job->work.samples);
    }
}

/* With the lock held: take a job from the queue. */
static void take_job(Job *job)
{
    Job *before = NULL;
    for (Job *other = pool.first; other != job; other = other->next)
        before = other;
    *(before ? &before->next : &pool.first) = job->next;
    if (pool.last == job)
        pool.last = before;
    job->state = RUNNING;
}

/* With the lock held: run a job that was taken. */
static void do_job(Job *job)
{
    pthread_mutex_unlock(&pool.lock);
    run_job(job);
    pthread_mutex_lock(&pool.lock);
    job->state = DONE;
    pthread_cond_broadcast(&pool.done);
}

static void *work_on(void *Py_UNUSED(nothing))
{
    pthread_mutex_lock(&pool.lock);
    for (;;) {
        while (!pool.first)
            pthread_cond_wait(&pool.work, &pool.lock);
        Job *job = pool.first;
        take_job(job);
        do_job(job);
    }
    return NULL;
}

/* With the lock held: as many threads as are useful besides the one that waits. */
static void start_threads(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN), most = cores > MOST_THREADS ? MOST_THREADS : cores - 1;
    sigset_t every, before;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before); /* signals are for the threads of Python */
    do {
        pthread_t thread;
        if (pthread_create(&thread, NULL, work_on, NULL))
            break;
        pthread_detach(thread);
    } while (++pool.threads < most);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void queue_job(Job *job)
{
    pthread_mutex_lock(&pool.lock);
    if (!pool.threads)
        start_threads();
    *(pool.last ? &pool.last->next : &pool.first) = job;
    pool.last = job;
    job->state = QUEUED;
    job->process = pool.process;
    pthread_cond_signal(&pool.work);
    pthread_mutex_unlock(&pool.lock);
}

/* Wait for a job, and work meanwhile. */
static void finish_job(Job *job)
{
    pthread_mutex_lock(&pool.lock);
    if (job->process != pool.process && job->state != DONE) /* whoever had it stayed behind a fork */
        do_job(job);
    while (job->state != DONE) {
        Job *next = job->state == QUEUED ? job : pool.first;
        if (next) {
            take_job(next);
            do_job(next);
        } else
            pthread_cond_wait(&pool.done, &pool.lock);
    }
    pthread_mutex_unlock(&pool.lock);
}

/* Do without a job that nobody waits for. */
static void drop_job(Job *job)
{
    pthread_mutex_lock(&pool.lock);
    if (job->process == pool.process && job->state == QUEUED)
        take_job(job);
    else
        while (job->process == pool.process && job->state == RUNNING)
            pthread_cond_wait(&pool.done, &pool.lock);
    pthread_mutex_unlock(&pool.lock);
}

static void before_fork(void) { pthread_mutex_lock(&pool.lock); }

static void after_fork_in_parent(void) { pthread_mutex_unlock(&pool.lock); }

static void after_fork_in_child(void)
{
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.work, NULL);
    pthread_cond_init(&pool.done, NULL);
    pool.first = pool.last = NULL;
    pool.threads = 0;
    pool.process++;
}

/* ---------------------------------------------------------------- the same for Python */

static PyObject *object_of(const Step *step, const char *memory, Cell cell)
{
    double number;
    if (cell.size < 0)
        return Py_NewRef(Py_None);
    switch (step->kind) {
    case STR:
        return PyUnicode_DecodeUTF8(memory + cell.at, cell.size, NULL);
    case BYTES:
        return PyBytes_FromStringAndSize(memory + cell.at, cell.size);
    case FLOAT:
        memcpy(&number, &cell.at, 8);
        return PyFloat_FromDouble(number);
    case BOOL:
        return PyBool_FromLong((long)cell.at);
    default:
        return PyLong_FromLongLong(cell.at);
    }
}

static PyObject *list_of(const Step *step, const char *memory, int64_t samples)
{
    PyObject *list = PyList_New(samples);
    for (int64_t i = 0; list && i < samples; i++) {
        PyObject *item = object_of(step, memory, step->cells[i]);
        if (!item || PyList_SetItem(list, i, item))
            Py_CLEAR(list);
    }
    return list;
}

/* One step out of its tuple; what it needs for `samples`, and columns of `rows`, is there, or an exception is set. */
static int parse_step(PyObject *tuple, int64_t samples, int64_t rows, Step *step)
{
    long long length = 0;
    PyObject *what = PyTuple_GetItem(tuple, 0);
    if (!what || (step->what = (int)PyLong_AsLong(what)) < 0)
        return -1;
    switch (step->what) {
    case SAME:
        if (!PyArg_ParseTuple(tuple, "iy*", &step->what, &step->buffer))
            return -1;
        step->length = step->buffer.len;
        return 0;
    case COPY:
        if (!PyArg_ParseTuple(tuple, "iw*L", &step->what, &step->buffer, &length))
            return -1;
        step->length = length;
        if (length >= 0 && (!length || rows <= step->buffer.len / length))
            return 0;
        break;
    case VALUE:
        if (!PyArg_ParseTuple(tuple, "iip", &step->what, &step->kind, &step->optional))
            return -1;
        step->cells = PyMem_Calloc(samples ? samples : 1, sizeof(Cell));
        if (step->cells)
            return 0;
        PyErr_NoMemory();
        return -1;
    case NUMBER:
        if (!PyArg_ParseTuple(tuple, "iiw*", &step->what, &step->kind, &step->buffer))
            return -1;
        if ((step->kind == INT || step->kind == FLOAT || step->kind == BOOL) &&
            rows <= step->buffer.len / (step->kind == BOOL ? 1 : 8))
            return 0;
        break;
    case MASKED: /* numbers, and behind all of them a byte for each: 1 for nil */
        if (!PyArg_ParseTuple(tuple, "iiw*", &step->what, &step->kind, &step->buffer))
            return -1;
        step->optional = 1;
        length = step->buffer.len / (step->kind == BOOL ? 2 : 9);
        step->mask = step->buffer.len - length;
        if ((step->kind == INT || step->kind == FLOAT || step->kind == BOOL) && rows <= length)
            return 0;
        break;
    case SKIP:
        return PyArg_ParseTuple(tuple, "ip", &step->what, &step->optional) ? 0 : -1;
    }
    PyErr_SetString(PyExc_ValueError, "a step that is none, or whose column is too small");
    return -1;
}

static PyObject *lists_of(const Step *steps, int count, const char *memory, int64_t samples)
{
    PyObject *columns = PyList_New(0);
    for (int i = 0; columns && i < count; i++) {
        if (steps[i].what != VALUE)
            continue;
        PyObject *list = list_of(steps + i, memory, samples);
        if (!list || PyList_Append(columns, list))
            Py_CLEAR(columns);
        Py_XDECREF(list);
    }
    if (!columns && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return Py_NewRef(Py_None);
    }
    return columns;
}

static void free_job(Job *job)
{
    for (int i = 0; job->steps && i < job->work.count; i++) {
        if (job->steps[i].buffer.obj)
            PyBuffer_Release(&job->steps[i].buffer);
        PyMem_Free(job->steps[i].cells);
    }
    Py_buffer *buffers[] = {&job->memory, &job->starts, &job->sizes, &job->rows};
    for (int i = 0; i < 4; i++)
        if (buffers[i]->obj)
            PyBuffer_Release(buffers[i]);
    if (job->file >= 0)
        close(job->file);
    free(job->texts.bytes);
    PyMem_Free(job->steps);
    PyMem_Free(job);
}

static void forget(PyObject *capsule)
{
    Job *job = PyCapsule_GetPointer(capsule, "job");
    drop_job(job);
    free_job(job);
}

/* How many rows a column must have; -1 where they are not as many as the samples, or are negative. */
static int64_t rows_of(const Work *work, const Py_buffer *rows)
{
    int64_t most = -1;
    if (!rows->obj)
        return work->first < 0 || work->first > MOST || work->samples > MOST ? -1 : work->first + work->samples;
    if (rows->len != work->samples * 8)
        return -1;
    for (int64_t i = 0; i < work->samples; i++) {
        if (work->rows[i] < 0 || work->rows[i] > MOST)
            return -1;
        if (work->rows[i] > most)
            most = work->rows[i];
    }
    return most + 1;
}

/* What is to be done, out of Python's objects; or an exception is set. */
static int parse_job(PyObject *args, Job *job)
{
    PyObject *source, *tuples, *rows;
    Work *work = &job->work;
    if (!PyArg_ParseTuple(args, "Oy*y*O!O", &source, &job->starts, &job->sizes, &PyTuple_Type, &tuples, &rows))
        return -1;
    if (PyLong_Check(rows) ? (work->first = PyLong_AsLongLong(rows)) == -1 && PyErr_Occurred()
                           : PyObject_GetBuffer(rows, &job->rows, PyBUF_SIMPLE))
        return -1;
    work->starts = job->starts.buf;
    work->sizes = job->sizes.buf;
    work->rows = job->rows.buf;
    work->samples = job->starts.len / 8;
    int64_t wanted = rows_of(work, &job->rows);
    Py_ssize_t count = PyTuple_Size(tuples);
    if (count > MAX_STEPS || job->starts.len != job->sizes.len || wanted < 0) {
        PyErr_SetString(PyExc_ValueError, "too many steps, or as many starts, sizes and rows are wanted");
        return -1;
    }
    if (!(job->steps = PyMem_Calloc((size_t)count + 1, sizeof(Step)))) {
        PyErr_NoMemory();
        return -1;
    }
    work->steps = job->steps;
    work->count = (int)count;
    for (Py_ssize_t i = 0; i < count; i++)
        if (parse_step(PyTuple_GetItem(tuples, i), work->samples, wanted, job->steps + i))
            return -1;
    if (!PyLong_Check(source))
        return PyObject_GetBuffer(source, &job->memory, PyBUF_SIMPLE);
    long number = PyLong_AsLong(source);
    if (number == -1 && PyErr_Occurred())
        return -1;
    if ((job->file = fcntl((int)number, F_DUPFD_CLOEXEC, 0)) >= 0) /* whoever closes it does not hold us up */
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

static PyObject *begin(PyObject *Py_UNUSED(self), PyObject *args)
{
    Job *job = PyMem_Calloc(1, sizeof(Job));
    if (!job)
        return PyErr_NoMemory();
    job->file = -1;
    job->state = DONE;
    if (parse_job(args, job)) {
        free_job(job);
        return NULL;
    }
    if (job->file < 0) {
        Py_BEGIN_ALLOW_THREADS
        run_job(job);
        Py_END_ALLOW_THREADS
    } else
        queue_job(job);
    PyObject *capsule = PyCapsule_New(job, "job", forget);
    if (!capsule) {
        drop_job(job);
        free_job(job);
    }
    return capsule;
}

static PyObject *result(PyObject *Py_UNUSED(self), PyObject *capsule)
{
    Job *job = PyCapsule_GetPointer(capsule, "job");
    if (!job)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    finish_job(job);
    Py_END_ALLOW_THREADS
    if (!job->alike)
        return Py_NewRef(Py_None);
    return lists_of(job->steps, job->work.count, job->file < 0 ? job->memory.buf : (char *)job->texts.bytes,
                    job->work.samples);
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_VARARGS, "Prove headers of a file."},
    {"begin", begin, METH_VARARGS, "Decode samples in memory, or begin to decode samples in a file."},
    {"result", result, METH_O, "What was decoded, once it is."},
    {"table_cells", table_cells, METH_VARARGS, "The cells of rows in text."},
    {"count_empty", count_empty, METH_VARARGS, "Count empty cells of a column whose others are of one kind."},
    {"parse_cells", parse_cells, METH_VARARGS, "The values of a column's cells."},
    {"pack_columns", pack_columns, METH_VARARGS, "Rows of columns as packed samples."},
    {"head_samples", head_samples, METH_VARARGS, "Packed samples as members of a shard."},
    {"decode_cbor", decode_cbor, METH_VARARGS, "A value in canonical DAG-CBOR."},
    {"encode_cbor", encode_cbor, METH_VARARGS, "The canonical DAG-CBOR of a value."},
    {"decode_node", decode_node, METH_VARARGS, "A node of a search tree."},
    {NULL, NULL, 0, NULL},
};

static int prepare(PyObject *module)
{
    static int prepared;
    if (!prepared && !(prepared = !pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child))) {
        PyErr_NoMemory();
        return -1;
    }
    if (PyModule_AddIntConstant(module, "MASKED", MASKED))
        return -1;
    return PyModule_AddIntConstant(module, "MAX_STEPS", MAX_STEPS);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)prepare}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }

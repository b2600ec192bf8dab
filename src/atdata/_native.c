/* The two inner loops of reading, for machines that can compile them.

   Each has a form in numpy, which is the one that says what is right: `shards/scan.py` proves headers, and
   `samples/columns.py` decodes samples. What these loops do not know they leave to it: they may refuse anything,
   and accept nothing that it does not accept. No byte is believed before it is known to be inside its sample. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 512

#if defined(__GNUC__) || defined(__clang__)
#define WILL_READ(address) __builtin_prefetch(address)
#else
#define WILL_READ(address) ((void)0)
#endif

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

static PyObject *scan(PyObject *Py_UNUSED(self), PyObject *args)
{
    Py_buffer memory, starts, sizes, marks;
    long long position;
    int64_t at, count = 0;
    int state = UNUSUAL;
    if (!PyArg_ParseTuple(args, "y*Lw*w*w*", &memory, &position, &starts, &sizes, &marks))
        return NULL;
    at = position;
    if (at >= 0 && at <= memory.len) {
        Py_ssize_t room = starts.len < sizes.len ? starts.len : sizes.len;
        room = (marks.len < room ? marks.len : room) / 8;
        Py_BEGIN_ALLOW_THREADS
        state = scan_headers(memory.buf, memory.len, &at, starts.buf, sizes.buf, marks.buf, room, &count);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&memory);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&sizes);
    PyBuffer_Release(&marks);
    return Py_BuildValue("iLL", state, (long long)count, (long long)at);
}

/* ---------------------------------------------------------------- samples to columns (msgpack, spec.md) */

enum { SAME, COPY, PLACE, VALUE, SKIP, NUMBER };
enum { INT, FLOAT, STR, BYTES, BOOL };

typedef struct {
    int64_t at;   /* of a text or bytes: where; of a number: its bits */
    int64_t size; /* of a text or bytes: how long; -1: nil */
} Cell;

typedef struct {
    int what, kind, optional;
    Py_buffer buffer;
    int64_t length;
    Cell *cells;
} Step;

#define MAX_STEPS 1024
#define AHEAD 3     /* samples */
#define AT_ONCE 4096 /* bytes */

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

static int run_steps(const Step *steps, int count, const uint8_t *memory, int64_t length, const int64_t *starts,
                     const int64_t *sizes, int64_t samples)
{
    for (int64_t i = 0; i < samples; i++) {
        if (starts[i] < 0 || sizes[i] < 0 || starts[i] > length || sizes[i] > length - starts[i])
            return 0;
        if (i + AHEAD < samples && starts[i + AHEAD] >= 0 && starts[i + AHEAD] < length) {
            int64_t soon = sizes[i + AHEAD] < AT_ONCE ? sizes[i + AHEAD] : AT_ONCE;
            for (int64_t line = 0; line < soon; line += 64)
                WILL_READ(memory + starts[i + AHEAD] + line);
        }
        const uint8_t *at = memory + starts[i], *end = at + sizes[i];
        for (const Step *step = steps; step < steps + count; step++) {
            int64_t taken = step->length, body;
            Cell cell;
            switch (step->what) {
            case SAME:
                if (end - at < taken || memcmp(at, step->buffer.buf, taken))
                    return 0;
                break;
            case COPY:
                if (end - at < taken)
                    return 0;
                memcpy((uint8_t *)step->buffer.buf + i * taken, at, taken);
                break;
            case PLACE:
                if (end - at < taken)
                    return 0;
                ((int64_t *)step->buffer.buf)[i] = at - memory;
                break;
            case VALUE:
                taken = read_value(step, memory, at, end, step->cells + i);
                if (taken < 0)
                    return 0;
                break;
            case NUMBER:
                taken = read_value(step, memory, at, end, &cell);
                if (taken < 0)
                    return 0;
                if (step->kind == BOOL)
                    ((uint8_t *)step->buffer.buf)[i] = (uint8_t)cell.at;
                else
                    ((int64_t *)step->buffer.buf)[i] = cell.at;
                break;
            default:
                if (!extent(at, end, &taken, &body) || (!step->optional && is_text(*at)))
                    return 0;
                taken += body;
            }
            at += taken;
        }
        if (at != end)
            return 0;
    }
    return 1;
}

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

/* One step out of its tuple; what it needs for `samples` of them is there, or an exception is set. */
static int parse_step(PyObject *tuple, int64_t samples, Step *step)
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
    case PLACE:
        if (!PyArg_ParseTuple(tuple, "iw*L", &step->what, &step->buffer, &length))
            return -1;
        step->length = length;
        int64_t item = step->what == PLACE ? 8 : length;
        if (length >= 0 && (!item || samples <= step->buffer.len / item))
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
            samples <= step->buffer.len / (step->kind == BOOL ? 1 : 8))
            return 0;
        break;
    case SKIP:
        return PyArg_ParseTuple(tuple, "ip", &step->what, &step->optional) ? 0 : -1;
    }
    PyErr_SetString(PyExc_ValueError, "a step that is none, or whose column is too small");
    return -1;
}

static PyObject *decode_steps(PyObject *tuples, const Py_buffer *memory, const int64_t *starts, const int64_t *sizes,
                              int64_t samples, Step *steps, int count)
{
    int alike;
    PyObject *columns = NULL;
    for (int i = 0; i < count; i++)
        if (parse_step(PyTuple_GetItem(tuples, i), samples, steps + i))
            return NULL;
    Py_BEGIN_ALLOW_THREADS
    alike = run_steps(steps, count, memory->buf, memory->len, starts, sizes, samples);
    Py_END_ALLOW_THREADS
    if (!alike)
        return Py_NewRef(Py_None);
    columns = PyList_New(0);
    for (int i = 0; columns && i < count; i++) {
        if (steps[i].what != VALUE)
            continue;
        PyObject *list = list_of(steps + i, memory->buf, samples);
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

static PyObject *decode(PyObject *Py_UNUSED(self), PyObject *args)
{
    Py_buffer memory, starts, sizes;
    PyObject *tuples, *found = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*O!", &memory, &starts, &sizes, &PyTuple_Type, &tuples))
        return NULL;
    Py_ssize_t count = PyTuple_Size(tuples);
    Step *steps = count <= MAX_STEPS && starts.len == sizes.len ? PyMem_Calloc(count + 1, sizeof(Step)) : NULL;
    if (steps) {
        found = decode_steps(tuples, &memory, starts.buf, sizes.buf, starts.len / 8, steps, (int)count);
        for (Py_ssize_t i = 0; i < count; i++) {
            if (steps[i].buffer.obj)
                PyBuffer_Release(&steps[i].buffer);
            PyMem_Free(steps[i].cells);
        }
        PyMem_Free(steps);
    } else
        PyErr_SetString(PyExc_ValueError, "too many steps, or as many starts as sizes are wanted");
    PyBuffer_Release(&memory);
    PyBuffer_Release(&starts);
    PyBuffer_Release(&sizes);
    return found;
}

static PyMethodDef methods[] = {
    {"scan", scan, METH_VARARGS, "Prove headers in memory."},
    {"decode", decode, METH_VARARGS, "Decode samples in memory."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_native", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }

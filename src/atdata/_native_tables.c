/* The inner loops of writing a table: cells out of text, columns out of cells, packed samples out of columns, and the
   headers of those in a shard.

   What says what is right is in Python: its module csv (strict), `importers/delimited.py`, msgspec, and
   `shards/writer.py`. These loops may refuse anything, and do nothing otherwise than those would. */

#include "_native.h"
#include <float.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { STR, INT, FLOAT, BOOL }; /* kinds of columns, as in `samples/table.py` */
enum { TEXT = 4 };              /* of cells: values of several kinds */

/* ---------------------------------------------------------------- cells (RFC 4180, as Python's csv reads it) */

/* Text, and where its cells go: one after the other, without quotes. */
typedef struct {
    const uint8_t *text;
    int64_t length, position;
    uint8_t *clean;
    int64_t used;
    uint8_t delimiter;
    int last; /* whether no more text comes */
} Reader;

/* The end of a cell: a delimiter, a line's end, or the end of all; 0 where it is none, or more text may tell. Sets `end`
   where it is a line's. */
static int end_cell(Reader *reader, int64_t at, int *end)
{
    *end = 1;
    if (at == reader->length) {
        reader->position = at;
        return reader->last;
    }
    uint8_t letter = reader->text[at];
    if (letter == '\r') {
        if (++at == reader->length || reader->text[at] != '\n')
            return 0;
    } else if (letter == reader->delimiter)
        *end = 0;
    else if (letter != '\n')
        return 0;
    reader->position = at + 1;
    return 1;
}

static void keep(Reader *reader, int64_t from, int64_t to)
{
    memcpy(reader->clean + reader->used, reader->text + from, (size_t)(to - from));
    reader->used += to - from;
}

/* Whether each \r comes before a \n: others end lines too. */
static int whole_lines(const uint8_t *text, const uint8_t *end)
{
    while ((text = memchr(text, '\r', (size_t)(end - text))))
        if (*++text != '\n') /* there is one more letter: the quote */
            return 0;
    return 1;
}

static int read_quoted(Reader *reader, int64_t at, int *end)
{
    for (;;) {
        const uint8_t *quote = memchr(reader->text + at, '"', (size_t)(reader->length - at));
        if (!quote || !whole_lines(reader->text + at, quote))
            return 0;
        int64_t closing = quote - reader->text;
        keep(reader, at, closing);
        at = closing + 1;
        if (at == reader->length || reader->text[at] != '"')
            return end_cell(reader, at, end);
        reader->clean[reader->used++] = '"';
        at++;
    }
}

static int read_cell(Reader *reader, int *end)
{
    int64_t at = reader->position, begin = at;
    if (at < reader->length && reader->text[at] == '"')
        return read_quoted(reader, at + 1, end);
    while (at < reader->length && reader->text[at] != reader->delimiter && reader->text[at] != '\n' &&
           reader->text[at] != '\r')
        at++;
    keep(reader, begin, at);
    return end_cell(reader, at, end);
}

/* Whether there is a row of `width` cells; where each ends goes to `ends`. */
static int read_row(Reader *reader, int64_t width, int64_t *ends)
{
    int end = 0;
    for (int64_t cell = 0; cell < width; cell++) {
        if (end || !read_cell(reader, &end))
            return 0;
        ends[cell] = reader->used;
    }
    return end;
}

/* Past lines that are empty. */
static void skip_lines(Reader *reader)
{
    const uint8_t *text = reader->text;
    while (reader->position < reader->length) {
        int64_t at = reader->position;
        if (text[at] == '\r' && at + 1 < reader->length && text[at + 1] == '\n')
            at++;
        if (text[at] != '\n')
            return;
        reader->position = at + 1;
    }
}

/* (text, delimiter, width, last, offsets, clean) -> (rows, bytes of text that they took) */
PyObject *table_cells(PyObject *Py_UNUSED(self), PyObject *args)
{
    Py_buffer text, offsets, clean;
    int delimiter, last;
    long long width;
    if (!PyArg_ParseTuple(args, "y*iLpw*w*", &text, &delimiter, &width, &last, &offsets, &clean))
        return NULL;
    int64_t rows = 0, taken = 0, room = offsets.len / 8 - 1, *ends = offsets.buf;
    if (width > 0 && width <= room && clean.len >= text.len && delimiter < 128) {
        Reader reader = {text.buf, text.len, 0, clean.buf, 0, (uint8_t)delimiter, last};
        Py_BEGIN_ALLOW_THREADS
        *ends++ = 0;
        for (; (rows + 1) * width <= room; rows++) {
            skip_lines(&reader);
            taken = reader.position;
            if (taken == reader.length || !read_row(&reader, width, ends))
                break;
            ends += width;
            taken = reader.position;
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&text);
    PyBuffer_Release(&offsets);
    PyBuffer_Release(&clean);
    return Py_BuildValue("(LL)", (long long)rows, (long long)taken);
}

/* ---------------------------------------------------------------- what cells are */

/* The cells of one column. */
typedef struct {
    Py_buffer content, bounds;
    long long width, column;
    int64_t rows;
} Cells;

/* Whether there is such a column. */
static int open_cells(Cells *cells)
{
    cells->rows = cells->width > 0 ? (cells->bounds.len / 8 - 1) / cells->width : -1;
    if (cells->rows >= 0 && cells->column >= 0 && cells->column < cells->width)
        return 1;
    PyErr_SetString(PyExc_ValueError, "there is no such column");
    return 0;
}

/* The text of a cell; NULL if its bounds are none. */
static const uint8_t *cell_of(const Cells *cells, int64_t row, int64_t *length)
{
    const int64_t *bounds = (const int64_t *)cells->bounds.buf + row * cells->width + cells->column;
    *length = bounds[1] - bounds[0];
    return bounds[0] < 0 || *length < 0 || bounds[1] > cells->content.len ? NULL
                                                                          : (const uint8_t *)cells->content.buf + bounds[0];
}

static int is_digit(uint8_t letter) { return letter >= '0' && letter <= '9'; }

static int is_space(uint8_t letter) { return letter == ' ' || (letter >= 9 && letter <= 13) || (letter >= 28 && letter <= 31); }

/* Whether text may begin with white space beyond ASCII. */
static int may_be_space(const uint8_t *text, int64_t length)
{
    if (length < 2)
        return length == 1 && text[0] >= 0x80;
    switch (text[0]) {
    case 0xC2:
        return text[1] == 0x85 || text[1] == 0xA0;
    case 0xE1:
        return text[1] == 0x9A;
    case 0xE2:
        return text[1] == 0x80 || text[1] == 0x81;
    case 0xE3:
        return text[1] == 0x80 && (length < 3 || text[2] == 0x80);
    }
    return 0;
}

static int is_word(const uint8_t *text, int64_t length, const char *word)
{
    int64_t i = 0;
    while (i < length && word[i] && (text[i] | 0x20) == word[i] && text[i] >= 'A')
        i++;
    return i == length && !word[i];
}

static int is_bool(const uint8_t *text, int64_t length)
{
    return is_word(text, length, "true") || is_word(text, length, "false");
}

/* -1: no such word; else 0 for NaN and 1 for infinity. */
static int special(const uint8_t *text, int64_t length)
{
    if (is_word(text, length, "nan"))
        return 0;
    int sign = length && (*text == '-' || *text == '+');
    text += sign;
    length -= sign;
    return is_word(text, length, "inf") || is_word(text, length, "infinity") ? 1 : -1;
}

/* A number as it is written: -?(0|[1-9]\d*)?(\.\d*)?([eE][+-]?\d+)?, with a digit before the exponent. */
typedef struct {
    int negative, point;     /* whether it has a sign, and a decimal point */
    int64_t whole, exponent; /* how many digits are before the point, and in the exponent; 0 for none */
    uint64_t digits;         /* all digits but the exponent's; right up to 19 of them */
    int64_t count, fraction; /* how many those are, and how many of them after the point */
    int64_t power;           /* the exponent; right up to 4 digits */
} Number;

static int read_number(const uint8_t *text, int64_t length, Number *number)
{
    int64_t at = 0;
    memset(number, 0, sizeof(Number));
    if (length && text[0] == '-')
        number->negative = (int)++at;
    int64_t begin = at;
    for (; at < length && is_digit(text[at]); at++)
        number->digits = number->digits * 10 + (text[at] - '0');
    number->whole = at - begin;
    if (number->whole > 1 && text[begin] == '0')
        return 0;
    if (at < length && text[at] == '.') {
        number->point = 1;
        for (at++; at < length && is_digit(text[at]); at++, number->fraction++)
            number->digits = number->digits * 10 + (text[at] - '0');
    }
    number->count = number->whole + number->fraction;
    if (!number->count)
        return 0;
    if (at < length && (text[at] | 0x20) == 'e') {
        int down = 0;
        if (++at < length && (text[at] == '-' || text[at] == '+'))
            down = text[at++] == '-';
        for (begin = at; at < length && is_digit(text[at]); at++)
            number->power = at - begin < 4 ? number->power * 10 + (text[at] - '0') : 0;
        if (!(number->exponent = at - begin))
            return 0;
        if (down)
            number->power = -number->power;
    }
    return at == length;
}

static int is_plain_int(const Number *number)
{
    return !number->point && !number->exponent && number->whole <= 15;
}

/* Whether it is a float that is sure to be finite. */
static int is_plain_float(const Number *number)
{
    return (number->point || number->exponent) && number->whole <= 100 && number->exponent <= 2;
}

/* Whether a cell might be told to be something else than text. */
static int may_be_told(const uint8_t *text, int64_t length)
{
    Number number;
    if (is_space(text[0]) || may_be_space(text, length))
        return 1;
    int64_t known = 0;
    while (known < length && text[known] < 0x80)
        known++;
    while (known && is_space(text[known - 1]))
        known--;
    return read_number(text, known, &number) || is_bool(text, known) || special(text, known) >= 0;
}

/* 1: white space; 0: not; -1: who knows. */
static int is_blank(const uint8_t *text, int64_t length)
{
    while (length && is_space(*text))
        text++, length--;
    return !length ? 1 : may_be_space(text, length) ? -1 : 0;
}

/* 1: counts as empty; 0: is of the kind; -1: who knows. */
static int look(int kind, const uint8_t *text, int64_t length)
{
    Number number;
    if (!length)
        return 1;
    switch (kind) {
    case STR:
        return may_be_told(text, length) ? -1 : 0;
    case INT:
        return read_number(text, length, &number) && is_plain_int(&number) ? 0 : -1;
    case FLOAT:
        return read_number(text, length, &number) && (is_plain_int(&number) || is_plain_float(&number)) ? 0 : -1;
    case BOOL:
        return is_bool(text, length) ? 0 : -1;
    case TEXT:
        return is_blank(text, length);
    }
    return -1;
}

/* (content, offsets, width, column, kind) -> how many cells are empty; -1 if not all others are sure to be of the kind */
PyObject *count_empty(PyObject *Py_UNUSED(self), PyObject *args)
{
    Cells cells;
    int kind;
    int64_t count = 0;
    if (!PyArg_ParseTuple(args, "y*y*LLi", &cells.content, &cells.bounds, &cells.width, &cells.column, &kind))
        return NULL;
    int open = open_cells(&cells);
    for (int64_t row = 0; open && row < cells.rows && count >= 0; row++) {
        int64_t length;
        const uint8_t *text = cell_of(&cells, row, &length);
        int found = text ? look(kind, text, length) : -1;
        count = found < 0 ? -1 : count + found;
    }
    PyBuffer_Release(&cells.content);
    PyBuffer_Release(&cells.bounds);
    return open ? PyLong_FromLongLong(count) : NULL;
}

/* ---------------------------------------------------------------- values */

#define EXACT 22    /* the most that 10 may be raised to and still be a double */
#define LONGEST 128 /* letters of a number */

static const double powers[EXACT + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                         1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

/* The double next to a decimal number. Two doubles that are exact give the right one (W. D. Clinger, How to read floating
   point numbers accurately, 1990); for others Python is asked. */
static int parse_float(const uint8_t *text, int64_t length, double *value)
{
    Number number;
    int which = special(text, length);
    if (which >= 0) {
        *value = which ? Py_HUGE_VAL : Py_NAN;
        if (*text == '-')
            *value = -*value;
        return 1;
    }
    if (!read_number(text, length, &number) || number.exponent > 4)
        return 0;
#if FLT_EVAL_METHOD == 0
    int64_t power = number.power - number.fraction;
    if (number.count <= 19 && number.digits <= (uint64_t)1 << 53 && power >= -EXACT && power <= EXACT) {
        double exact = (double)number.digits;
        *value = power < 0 ? exact / powers[-power] : exact * powers[power];
        if (number.negative)
            *value = -*value;
        return 1;
    }
#endif
    char copy[LONGEST + 1];
    if (length > LONGEST)
        return 0;
    memcpy(copy, text, (size_t)length);
    copy[length] = 0;
    *value = PyOS_string_to_double(copy, NULL, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return *value - *value == 0; /* one that is too large is for others to judge */
}

static int parse_value(int kind, const uint8_t *text, int64_t length, void *values, int64_t row)
{
    Number number;
    switch (kind) {
    case INT:
        if (!read_number(text, length, &number) || number.point || number.exponent || number.count > 18)
            return 0;
        ((int64_t *)values)[row] = number.negative ? -(int64_t)number.digits : (int64_t)number.digits;
        return 1;
    case FLOAT:
        return parse_float(text, length, (double *)values + row);
    case BOOL:
        ((uint8_t *)values)[row] = (uint8_t)(length == 4);
        return is_bool(text, length);
    }
    return 0;
}

/* (content, offsets, width, column, kind, values, missing) -> whether each cell is a value of the kind, or empty */
PyObject *parse_cells(PyObject *Py_UNUSED(self), PyObject *args)
{
    Cells cells;
    Py_buffer values, missing;
    int kind;
    if (!PyArg_ParseTuple(args, "y*y*LLiw*w*", &cells.content, &cells.bounds, &cells.width, &cells.column, &kind, &values,
                          &missing))
        return NULL;
    int open = open_cells(&cells), alike = 1;
    if (open && (values.len < cells.rows * (kind == BOOL ? 1 : 8) || missing.len < cells.rows)) {
        PyErr_SetString(PyExc_ValueError, "a column is too small");
        open = 0;
    }
    for (int64_t row = 0; open && alike && row < cells.rows; row++) {
        int64_t length;
        const uint8_t *text = cell_of(&cells, row, &length);
        ((uint8_t *)missing.buf)[row] = !length;
        alike = text && (!length || parse_value(kind, text, length, values.buf, row));
    }
    PyBuffer_Release(&cells.content);
    PyBuffer_Release(&cells.bounds);
    PyBuffer_Release(&values);
    PyBuffer_Release(&missing);
    return open ? PyBool_FromLong(alike) : NULL;
}

/* ---------------------------------------------------------------- packed samples (the MessagePack specification) */

#define MAX_COLUMNS 1024

/* A column of values. Buffers that it lacks are empty. */
typedef struct {
    int kind;
    Py_buffer name, values, starts, ends, missing;
} Column;

static void free_columns(Column *columns, Py_ssize_t count)
{
    for (Py_ssize_t i = 0; i < count; i++) {
        Py_buffer *buffers[] = {&columns[i].name, &columns[i].values, &columns[i].starts, &columns[i].ends,
                                &columns[i].missing};
        for (int j = 0; j < 5; j++)
            if (buffers[j]->obj)
                PyBuffer_Release(buffers[j]);
    }
    PyMem_Free(columns);
}

static int check_column(const Column *column, int64_t rows)
{
    const int64_t *starts = column->starts.buf, *ends = column->ends.buf;
    if (column->missing.len && column->missing.len < rows)
        return 0;
    if (column->kind != STR)
        return column->kind <= BOOL && column->values.len >= rows * (column->kind == BOOL ? 1 : 8);
    if (column->starts.len < rows * 8 || column->ends.len < rows * 8)
        return 0;
    for (int64_t row = 0; row < rows; row++)
        if (starts[row] < 0 || starts[row] > ends[row] || ends[row] > column->values.len || ends[row] - starts[row] > UINT32_MAX)
            return 0;
    return 1;
}

static uint8_t *put(uint8_t *into, uint8_t token, uint64_t number, int count)
{
    *into++ = token;
    for (int shift = 8 * (count - 1); shift >= 0; shift -= 8)
        *into++ = (uint8_t)(number >> shift);
    return into;
}

static uint8_t *put_int(uint8_t *into, int64_t value)
{
    if (value >= 0) {
        if (value < 0x80)
            return put(into, (uint8_t)value, 0, 0);
        int wide = value > UINT8_MAX ? value > UINT16_MAX ? value > UINT32_MAX ? 3 : 2 : 1 : 0;
        return put(into, (uint8_t)(0xCC + wide), (uint64_t)value, 1 << wide);
    }
    if (value >= -32)
        return put(into, (uint8_t)value, 0, 0);
    int wide = value < INT8_MIN ? value < INT16_MIN ? value < INT32_MIN ? 3 : 2 : 1 : 0;
    return put(into, (uint8_t)(0xD0 + wide), (uint64_t)value, 1 << wide);
}

static uint8_t *put_text(uint8_t *into, const uint8_t *text, int64_t length)
{
    if (length < 32)
        *into++ = (uint8_t)(0xA0 + length);
    else if (length <= UINT8_MAX)
        into = put(into, 0xD9, (uint64_t)length, 1);
    else
        into = length <= UINT16_MAX ? put(into, 0xDA, (uint64_t)length, 2) : put(into, 0xDB, (uint64_t)length, 4);
    memcpy(into, text, (size_t)length);
    return into + length;
}

static uint8_t *put_value(uint8_t *into, const Column *column, int64_t row)
{
    uint64_t bits;
    if (column->missing.len && ((const uint8_t *)column->missing.buf)[row])
        return put(into, 0xC0, 0, 0);
    switch (column->kind) {
    case INT:
        return put_int(into, ((const int64_t *)column->values.buf)[row]);
    case FLOAT:
        memcpy(&bits, (const uint8_t *)column->values.buf + 8 * row, 8);
        return put(into, 0xCB, bits, 8);
    case BOOL:
        return put(into, ((const uint8_t *)column->values.buf)[row] ? 0xC3 : 0xC2, 0, 0);
    }
    int64_t start = ((const int64_t *)column->starts.buf)[row], end = ((const int64_t *)column->ends.buf)[row];
    return put_text(into, (const uint8_t *)column->values.buf + start, end - start);
}

/* The most bytes that rows of some columns may take. */
static int64_t most_bytes(const Column *columns, Py_ssize_t count, int64_t rows)
{
    int64_t most = 3 * rows;
    for (Py_ssize_t i = 0; i < count; i++) {
        most += rows * (columns[i].name.len + 9);
        for (int64_t row = 0; columns[i].kind == STR && row < rows; row++)
            most += ((const int64_t *)columns[i].ends.buf)[row] - ((const int64_t *)columns[i].starts.buf)[row];
    }
    return most;
}

static uint8_t *pack_rows(const Column *columns, Py_ssize_t count, int64_t rows, uint8_t *begin, int64_t *ends)
{
    uint8_t *into = begin;
    for (int64_t row = 0; row < rows; row++) {
        into = count < 16 ? put(into, (uint8_t)(0x80 + count), 0, 0) : put(into, 0xDE, (uint64_t)count, 2);
        for (Py_ssize_t i = 0; i < count; i++) {
            memcpy(into, columns[i].name.buf, (size_t)columns[i].name.len);
            into = put_value(into + columns[i].name.len, columns + i, row);
        }
        ends[row] = into - begin;
    }
    return into;
}

/* (rows, columns, ends) -> the packed samples, one after the other. A column is (kind, packed name, values, starts, ends,
   missing): starts and ends of text, missing of optional ones, else empty. */
PyObject *pack_columns(PyObject *Py_UNUSED(self), PyObject *args)
{
    long long rows;
    PyObject *tuples, *packed = NULL;
    Py_buffer ends;
    if (!PyArg_ParseTuple(args, "LO!w*", &rows, &PyTuple_Type, &tuples, &ends))
        return NULL;
    Py_ssize_t count = PyTuple_Size(tuples);
    Column *columns = PyMem_Calloc((size_t)count + 1, sizeof(Column));
    int sound = columns && count <= MAX_COLUMNS && rows >= 0 && ends.len >= rows * 8;
    for (Py_ssize_t i = 0; sound && i < count; i++) {
        Column *column = columns + i;
        PyObject *tuple = PyTuple_GetItem(tuples, i);
        sound = tuple && PyArg_ParseTuple(tuple, "iy*y*y*y*y*", &column->kind, &column->name, &column->values, &column->starts,
                                          &column->ends, &column->missing) &&
                check_column(column, rows);
    }
    uint8_t *room = sound ? PyMem_Malloc((size_t)most_bytes(columns, count, rows) + 1) : NULL;
    if (room) {
        uint8_t *end;
        Py_BEGIN_ALLOW_THREADS
        end = pack_rows(columns, count, rows, room, ends.buf);
        Py_END_ALLOW_THREADS
        packed = PyBytes_FromStringAndSize((char *)room, end - room);
        PyMem_Free(room);
    } else if (!PyErr_Occurred()) {
        if (sound || !columns)
            PyErr_NoMemory();
        else
            PyErr_SetString(PyExc_ValueError, "a column is none, or too small");
    }
    if (columns)
        free_columns(columns, count);
    PyBuffer_Release(&ends);
    return packed;
}

/* ---------------------------------------------------------------- headers of a shard (POSIX.1-1988 ustar) */

#define SIZE_AT 124
#define SUM_AT 148

static int64_t put_octal(uint8_t *into, int digits, int64_t number)
{
    int64_t sum = 0;
    for (int i = digits - 1; i >= 0; i--, number >>= 3)
        sum += into[i] = (uint8_t)('0' + (number & 7));
    return sum;
}

/* All samples, each with its header before it and zeros behind; where each one's blocks end goes to `ends`. */
static void head_all(const uint8_t *packed, const int64_t *bounds, int64_t rows, const uint8_t *header, long long first,
                     uint8_t *into, int64_t *ends)
{
    int64_t base = 8 * ' ', begin = 0;
    uint8_t *start = into;
    for (int i = 0; i < BLOCK; i++)
        base += (i >= SIZE_AT && i < SIZE_AT + 11) || (i >= SUM_AT && i < SUM_AT + 8) ? 0 : header[i];
    for (int64_t row = 0; row < rows; row++) {
        int64_t size = bounds[row] - begin, sum = base;
        memcpy(into, header, BLOCK);
        int length = snprintf((char *)into, 64, "%09lld.msgpack", first + (long long)row);
        for (int i = 0; i < length; i++)
            sum += into[i];
        sum += put_octal(into + SIZE_AT, 11, size);
        put_octal(into + SUM_AT, 6, sum);
        memcpy(into + BLOCK, packed + begin, (size_t)size);
        int64_t whole = (size + BLOCK - 1) / BLOCK * BLOCK;
        memset(into + BLOCK + size, 0, (size_t)(whole - size));
        into += BLOCK + whole;
        ends[row] = into - start;
        begin = bounds[row];
    }
}

/* (packed, where each ends, a header without a name, number of the first, ends) -> the samples as tar members */
PyObject *head_samples(PyObject *Py_UNUSED(self), PyObject *args)
{
    Py_buffer packed, bounds, header, ends;
    long long first;
    PyObject *members = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*Lw*", &packed, &bounds, &header, &first, &ends))
        return NULL;
    int64_t rows = bounds.len / 8, total = 0, begin = 0;
    const int64_t *each = bounds.buf;
    int sound = header.len == BLOCK && ends.len >= rows * 8 && first >= 0;
    for (int64_t row = 0; sound && row < rows; row++) {
        int64_t size = each[row] - begin;
        sound = size >= 0 && size < (int64_t)1 << 33 && each[row] <= packed.len;
        total += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
        begin = each[row];
    }
    if (!sound)
        PyErr_SetString(PyExc_ValueError, "these are no samples");
    else if ((members = PyBytes_FromStringAndSize(NULL, total))) {
        uint8_t *into = (uint8_t *)PyBytes_AsString(members);
        Py_BEGIN_ALLOW_THREADS
        head_all(packed.buf, each, rows, header.buf, first, into, ends.buf);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&packed);
    PyBuffer_Release(&bounds);
    PyBuffer_Release(&header);
    PyBuffer_Release(&ends);
    return members;
}

/* Canonical DAG-CBOR to values and back, and to nodes of search trees: the way that nearly every block takes.

   `atproto/cbor.py` and `atproto/repo/node.py` are the forms that say what is right. What is not wholly as it must be
   is refused here without a word, and it is decoded there once more, for the error. Nothing is accepted that is not
   accepted there. */

#include "_native.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE };

#define LINK 37 /* bytes of a link's byte string: a zero byte, and a CID */

typedef struct {
    const uint8_t *at, *end;
    Py_ssize_t depth, items; /* what may still be nested, and held */
    PyObject *cid_type, *binary; /* the type of links, and the name of its attribute */
} Reader;

enum { FAILED = -1, REFUSED, BEGUN };

/* Begin to read bytes at an offset. Only those that cannot change meanwhile are read. */
static int begin_reading(Reader *reader, PyObject *data, Py_ssize_t offset, PyObject *cid_type)
{
    char *bytes;
    Py_ssize_t size;
    if (!PyType_Check(cid_type)) {
        PyErr_SetString(PyExc_TypeError, "a type for links is needed");
        return FAILED;
    }
    if (!PyBytes_CheckExact(data))
        return REFUSED;
    if (PyBytes_AsStringAndSize(data, &bytes, &size))
        return FAILED;
    if (offset < 0 || offset > size)
        return REFUSED;
    reader->at = (const uint8_t *)bytes + offset;
    reader->end = (const uint8_t *)bytes + size;
    reader->cid_type = cid_type;
    reader->binary = PyUnicode_InternFromString("_binary");
    return reader->binary ? BEGUN : FAILED;
}

/* None in place of what was refused; what was refused as bad UTF-8 has an error that nobody is to see. */
static PyObject *refused(void)
{
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
        return NULL;
    PyErr_Clear();
    Py_RETURN_NONE;
}

/* An object of a frozen class without its attributes: they are set past the class, as its own constructor does. */
static PyObject *blank(PyObject *type)
{
    newfunc make = (newfunc)PyType_GetSlot((PyTypeObject *)type, Py_tp_new);
    PyObject *nothing = PyTuple_New(0), *made = nothing && make ? make((PyTypeObject *)type, nothing, NULL) : NULL;
    Py_XDECREF(nothing);
    return made;
}

/* Major type, and the argument in its shortest form; not for simple values. */
static int read_head(Reader *reader, int *major, uint64_t *argument)
{
    static const uint64_t smallest[] = {24, 1 << 8, 1 << 16, (uint64_t)1 << 32};
    if (reader->at >= reader->end)
        return 0;
    *major = *reader->at >> 5;
    int info = *reader->at++ & 31;
    if (info < 24) {
        *argument = (uint64_t)info;
        return 1;
    }
    if (info > 27 || reader->end - reader->at < 1 << (info - 24))
        return 0;
    *argument = 0;
    for (int left = 1 << (info - 24); left; left--)
        *argument = *argument << 8 | *reader->at++;
    return *argument >= smallest[info - 24];
}

static PyObject *read_text(Reader *reader, uint64_t length)
{
    if (length > (uint64_t)(reader->end - reader->at))
        return NULL;
    const char *text = (const char *)reader->at;
    reader->at += length;
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)length, NULL);
}

static PyObject *read_bytes(Reader *reader, uint64_t length)
{
    if (length > (uint64_t)(reader->end - reader->at))
        return NULL;
    const char *bytes = (const char *)reader->at;
    reader->at += length;
    return PyBytes_FromStringAndSize(bytes, (Py_ssize_t)length);
}

/* After the head of tag 42: the one form of a CID, so that it needs no second check. */
static PyObject *read_link(Reader *reader)
{
    static const uint8_t sha256[] = {0x12, 0x20};
    const uint8_t *link = reader->at + 2;
    if (reader->end - reader->at < 2 + LINK || reader->at[0] != (BYTES << 5 | 24) || reader->at[1] != LINK)
        return NULL;
    if (link[0] || link[1] != 1 || (link[2] != 0x55 && link[2] != 0x71) || memcmp(link + 3, sha256, sizeof sha256))
        return NULL;
    reader->at = link + LINK;
    PyObject *binary = PyBytes_FromStringAndSize((const char *)link + 1, LINK - 1);
    PyObject *cid = binary ? blank(reader->cid_type) : NULL;
    if (cid && PyObject_GenericSetAttr(cid, reader->binary, binary))
        Py_CLEAR(cid);
    Py_XDECREF(binary);
    return cid;
}

static PyObject *read_simple(Reader *reader)
{
    uint64_t bits = 0;
    double number;
    switch (*reader->at++ & 31) {
    case 20:
        return PyBool_FromLong(0);
    case 21:
        return PyBool_FromLong(1);
    case 22:
        return Py_NewRef(Py_None);
    case 27:
        if (reader->end - reader->at < 8)
            return NULL;
        for (int i = 0; i < 8; i++)
            bits = bits << 8 | *reader->at++;
        if ((bits >> 52 & 0x7FF) == 0x7FF || bits == (uint64_t)1 << 63) /* not finite, or negative zero */
            return NULL;
        memcpy(&number, &bits, 8);
        return PyFloat_FromDouble(number);
    default:
        return NULL;
    }
}

static PyObject *read_negative(uint64_t argument)
{
    if (argument <= INT64_MAX)
        return PyLong_FromLongLong(-1 - (int64_t)argument);
    PyObject *number = PyLong_FromUnsignedLongLong(argument), *inverse = number ? PyNumber_Invert(number) : NULL;
    Py_XDECREF(number);
    return inverse;
}

static PyObject *read_value(Reader *reader);

static PyObject *read_array(Reader *reader, Py_ssize_t count)
{
    PyObject *items = PyList_New(count);
    for (Py_ssize_t i = 0; items && i < count; i++) {
        PyObject *item = read_value(reader);
        if (!item || PyList_SetItem(items, i, item)) /* which takes the item, also where it fails */
            Py_CLEAR(items);
    }
    return items;
}

/* Keys are text, each after the one before it: shorter ones first, then by their bytes. */
static PyObject *read_map(Reader *reader, Py_ssize_t count)
{
    PyObject *entries = PyDict_New();
    const uint8_t *previous = NULL;
    uint64_t previous_length = 0, length;
    int major;
    for (Py_ssize_t i = 0; entries && i < count; i++) {
        PyObject *key = NULL, *item = NULL;
        if (read_head(reader, &major, &length) && major == TEXT) {
            const uint8_t *text = reader->at;
            if ((key = read_text(reader, length))) {
                int later = !previous || length > previous_length ||
                            (length == previous_length && memcmp(text, previous, (size_t)length) > 0);
                previous = text;
                previous_length = length;
                item = later ? read_value(reader) : NULL;
            }
        }
        if (!item || PyDict_SetItem(entries, key, item))
            Py_CLEAR(entries);
        Py_XDECREF(key);
        Py_XDECREF(item);
    }
    return entries;
}

static PyObject *read_container(Reader *reader, int major, uint64_t count)
{
    /* An item takes a byte at least, an entry two: what is made is bounded by what was sent. */
    if (reader->depth <= 0 || count > (uint64_t)(reader->end - reader->at) / (major == MAP ? 2 : 1))
        return NULL;
    if (count > (uint64_t)reader->items)
        return NULL;
    reader->items -= (Py_ssize_t)count;
    reader->depth--;
    PyObject *value = (major == MAP ? read_map : read_array)(reader, (Py_ssize_t)count);
    reader->depth++;
    return value;
}

/* A value; NULL without an error set where there is none in canonical form (or with that of bad UTF-8). */
static PyObject *read_value(Reader *reader)
{
    int major;
    uint64_t argument;
    if (reader->at >= reader->end)
        return NULL;
    if (*reader->at >> 5 == SIMPLE)
        return read_simple(reader);
    if (!read_head(reader, &major, &argument))
        return NULL;
    switch (major) {
    case UNSIGNED:
        return PyLong_FromUnsignedLongLong(argument);
    case NEGATIVE:
        return read_negative(argument);
    case BYTES:
        return read_bytes(reader, argument);
    case TEXT:
        return read_text(reader, argument);
    case TAG:
        return argument == 42 ? read_link(reader) : NULL;
    default:
        return read_container(reader, major, argument);
    }
}

/* decode_cbor(data, offset, max_depth, max_items, cid_type): the value at an offset and where it ends, or None. */
PyObject *decode_cbor(PyObject *module, PyObject *args)
{
    PyObject *data, *cid_type;
    Py_ssize_t offset;
    Reader reader;
    (void)module;
    if (!PyArg_ParseTuple(args, "OnnnO", &data, &offset, &reader.depth, &reader.items, &cid_type))
        return NULL;
    int begun = begin_reading(&reader, data, offset, cid_type);
    if (begun != BEGUN)
        return begun == REFUSED ? Py_NewRef(Py_None) : NULL;
    const uint8_t *start = reader.at;
    PyObject *value = reader.items < 0 ? NULL : read_value(&reader);
    Py_DECREF(reader.binary);
    return value ? Py_BuildValue("Nn", value, offset + (Py_ssize_t)(reader.at - start)) : refused();
}

/* ---------------------------------------------------------------- nodes of search trees */

typedef struct {
    uint8_t *bytes; /* of the key before, room for the longest */
    Py_ssize_t size, room, left; /* what all keys of a node may still take */
    PyObject *type, *names[3];
} Keys;

/* The bytes that stand next. */
static int take(Reader *reader, const char *bytes, Py_ssize_t count)
{
    if (reader->end - reader->at < count || memcmp(reader->at, bytes, (size_t)count))
        return 0;
    reader->at += count;
    return 1;
}

static PyObject *read_any_link(Reader *reader) { return take(reader, "\xd8\x2a", 2) ? read_link(reader) : NULL; }

/* A link to a node, or null. */
static PyObject *read_tree(Reader *reader)
{
    if (take(reader, "\xf6", 1))
        return Py_NewRef(Py_None);
    return reader->end - reader->at > 6 && reader->at[6] == 0x71 ? read_any_link(reader) : NULL;
}

/* The key of an entry: a suffix `k`, after a prefix of length `p` of the key before. */
static PyObject *read_key(Reader *reader, Keys *keys)
{
    int major;
    uint64_t length, shared, before = (uint64_t)keys->size;
    if (!take(reader, "\xa4\x61k", 3) || !read_head(reader, &major, &length) || major != BYTES)
        return NULL;
    const uint8_t *suffix = reader->at;
    if (!length || length > (uint64_t)(reader->end - reader->at))
        return NULL;
    reader->at += length;
    if (!take(reader, "\x61p", 2) || !read_head(reader, &major, &shared) || major != UNSIGNED)
        return NULL;
    if (shared > before || length > (uint64_t)keys->room || shared + length > (uint64_t)keys->room)
        return NULL;
    if (shared < before && *suffix <= keys->bytes[shared]) /* a longer prefix, or not after the key before */
        return NULL;
    memcpy(keys->bytes + shared, suffix, (size_t)length);
    keys->size = (Py_ssize_t)(shared + length);
    keys->left -= keys->size;
    return keys->left < 0 ? NULL : PyUnicode_DecodeUTF8((const char *)keys->bytes, keys->size, NULL);
}

static PyObject *read_entry(Reader *reader, Keys *keys)
{
    PyObject *parts[3] = {NULL, NULL, NULL}, *entry = NULL; /* key, value, right: as they are named */
    if ((parts[0] = read_key(reader, keys)) && take(reader, "\x61t", 2) && (parts[2] = read_tree(reader)) &&
        take(reader, "\x61v", 2) && (parts[1] = read_any_link(reader)))
        entry = blank(keys->type);
    for (int i = 0; i < 3; i++) {
        if (entry && PyObject_GenericSetAttr(entry, keys->names[i], parts[i]))
            Py_CLEAR(entry);
        Py_XDECREF(parts[i]);
    }
    return entry;
}

static PyObject *read_entries(Reader *reader, Keys *keys)
{
    int major;
    uint64_t count;
    if (!take(reader, "\xa2\x61" "e", 3) || !read_head(reader, &major, &count) || major != ARRAY)
        return NULL;
    if (reader->items < 2 || count > (uint64_t)(reader->items - 2) / 5 || count > (uint64_t)(reader->end - reader->at))
        return NULL; /* an entry is a value of the array, and holds four */
    PyObject *entries = PyTuple_New((Py_ssize_t)count);
    for (Py_ssize_t i = 0; entries && i < (Py_ssize_t)count; i++) {
        PyObject *entry = read_entry(reader, keys);
        if (!entry || PyTuple_SetItem(entries, i, entry)) /* which takes the entry, also where it fails */
            Py_CLEAR(entries);
    }
    return entries;
}

/* decode_node(block, max_items, max_key, max_keys, cid_type, entry_type): its left tree and its entries, or None. */
PyObject *decode_node(PyObject *module, PyObject *args)
{
    PyObject *block, *cid_type, *entries = NULL, *left = NULL, *found = NULL;
    Reader reader;
    Keys keys = {.size = 0};
    (void)module;
    if (!PyArg_ParseTuple(args, "OnnnOO!", &block, &reader.items, &keys.room, &keys.left, &cid_type, &PyType_Type,
                          &keys.type))
        return NULL;
    int begun = begin_reading(&reader, block, 0, cid_type);
    if (begun != BEGUN)
        return begun == REFUSED ? Py_NewRef(Py_None) : NULL;
    keys.bytes = keys.room > 0 ? PyMem_Malloc((size_t)keys.room) : NULL;
    keys.names[0] = PyUnicode_InternFromString("key");
    keys.names[1] = PyUnicode_InternFromString("value");
    keys.names[2] = PyUnicode_InternFromString("right");
    if (keys.bytes && keys.names[0] && keys.names[1] && keys.names[2])
        entries = read_entries(&reader, &keys);
    if (entries && take(&reader, "\x61l", 2))
        left = read_tree(&reader);
    if (left && reader.at == reader.end)
        found = PyTuple_Pack(2, left, entries);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(keys.names[i]);
    PyMem_Free(keys.bytes);
    Py_DECREF(reader.binary);
    Py_XDECREF(entries);
    Py_XDECREF(left);
    return found ? found : refused();
}

/* ---------------------------------------------------------------- values to canonical DAG-CBOR */

typedef struct {
    uint8_t *bytes;
    Py_ssize_t size, room, depth, items;
    PyObject *cid_type, *binary;
} Writer;

static int put(Writer *writer, const void *bytes, Py_ssize_t count)
{
    if (count > writer->room - writer->size) {
        Py_ssize_t room = writer->room;
        while (count > room - writer->size) {
            if (room > PY_SSIZE_T_MAX / 2)
                return 0;
            room *= 2;
        }
        uint8_t *grown = PyMem_Realloc(writer->bytes, (size_t)room);
        if (!grown)
            return 0;
        writer->bytes = grown;
        writer->room = room;
    }
    memcpy(writer->bytes + writer->size, bytes, (size_t)count);
    writer->size += count;
    return 1;
}

static int put_head(Writer *writer, int major, uint64_t argument)
{
    uint8_t head[9] = {(uint8_t)(major << 5)};
    if (argument < 24) {
        head[0] |= (uint8_t)argument;
        return put(writer, head, 1);
    }
    int log = argument < 1 << 8 ? 0 : argument < 1 << 16 ? 1 : argument < (uint64_t)1 << 32 ? 2 : 3, size = 1 << log;
    head[0] |= (uint8_t)(24 + log);
    for (int i = 0; i < size; i++)
        head[size - i] = (uint8_t)(argument >> 8 * i);
    return put(writer, head, 1 + size);
}

static int put_string(Writer *writer, int major, const void *bytes, Py_ssize_t size)
{
    return put_head(writer, major, (uint64_t)size) && put(writer, bytes, size);
}

static int put_integer(Writer *writer, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow)
        return number < 0 ? put_head(writer, NEGATIVE, (uint64_t)(-1 - number)) : put_head(writer, UNSIGNED, (uint64_t)number);
    PyObject *positive = overflow < 0 ? PyNumber_Invert(value) : Py_NewRef(value); /* the inverse of n is -1 - n */
    uint64_t argument = positive ? PyLong_AsUnsignedLongLong(positive) : 0;
    Py_XDECREF(positive);
    return !PyErr_Occurred() && put_head(writer, overflow < 0 ? NEGATIVE : UNSIGNED, argument);
}

static int put_float(Writer *writer, PyObject *value)
{
    double number = PyFloat_AsDouble(value);
    uint64_t bits;
    memcpy(&bits, &number, 8);
    if ((bits >> 52 & 0x7FF) == 0x7FF || bits == (uint64_t)1 << 63) /* not finite, or negative zero */
        return 0;
    uint8_t form[9] = {SIMPLE << 5 | 27};
    for (int i = 0; i < 8; i++)
        form[8 - i] = (uint8_t)(bits >> 8 * i);
    return put(writer, form, sizeof form);
}

static int put_link(Writer *writer, PyObject *value)
{
    PyObject *binary = PyObject_GenericGetAttr(value, writer->binary);
    char *bytes;
    Py_ssize_t size;
    int done = binary && PyBytes_CheckExact(binary) && !PyBytes_AsStringAndSize(binary, &bytes, &size) &&
               size == LINK - 1 && put(writer, "\xd8\x2a\x58\x25\x00", 5) && put(writer, bytes, size);
    Py_XDECREF(binary);
    return done;
}

typedef struct {
    const char *text;
    Py_ssize_t size;
    PyObject *value;
} Member;

static int by_length_and_bytes(const void *one, const void *other)
{
    const Member *left = one, *right = other;
    if (left->size != right->size)
        return left->size < right->size ? -1 : 1;
    return memcmp(left->text, right->text, (size_t)left->size);
}

static int put_value(Writer *writer, PyObject *value);

static int put_map(Writer *writer, PyObject *map, Py_ssize_t count)
{
    Member *members = PyMem_Malloc((size_t)count * sizeof *members + 1);
    PyObject *key, *value;
    Py_ssize_t position = 0, found = 0;
    int done = members != NULL;
    while (done && PyDict_Next(map, &position, &key, &value)) {
        done = found < count && PyUnicode_Check(key) &&
               (members[found].text = PyUnicode_AsUTF8AndSize(key, &members[found].size)) != NULL;
        if (done)
            members[found++].value = value;
    }
    done = done && found == count && put_head(writer, MAP, (uint64_t)count);
    if (done)
        qsort(members, (size_t)count, sizeof *members, by_length_and_bytes);
    for (Py_ssize_t i = 0; done && i < count; i++)
        done = put_string(writer, TEXT, members[i].text, members[i].size) && put_value(writer, members[i].value);
    PyMem_Free(members);
    return done;
}

static int put_container(Writer *writer, PyObject *value, int is_map)
{
    Py_ssize_t count = is_map ? PyDict_Size(value) : PyList_Size(value);
    if (writer->depth <= 0 || count > writer->items)
        return 0;
    writer->items -= count;
    writer->depth--;
    int done = is_map ? put_map(writer, value, count) : put_head(writer, ARRAY, (uint64_t)count);
    for (Py_ssize_t i = 0; !is_map && done && i < count; i++)
        done = put_value(writer, PyList_GetItem(value, i));
    writer->depth++;
    return done;
}

/* Nothing of Python runs in here, so that no container changes meanwhile: other types than these are refused. */
static int put_value(Writer *writer, PyObject *value)
{
    const char *text;
    char *bytes;
    Py_ssize_t size;
    if (PyUnicode_Check(value))
        return (text = PyUnicode_AsUTF8AndSize(value, &size)) && put_string(writer, TEXT, text, size);
    if (PyDict_CheckExact(value) || PyList_CheckExact(value))
        return put_container(writer, value, PyDict_CheckExact(value));
    if (value == Py_None || value == Py_True || value == Py_False)
        return put(writer, value == Py_None ? "\xf6" : value == Py_True ? "\xf5" : "\xf4", 1);
    if (PyLong_CheckExact(value))
        return put_integer(writer, value);
    if (PyBytes_CheckExact(value))
        return !PyBytes_AsStringAndSize(value, &bytes, &size) && put_string(writer, BYTES, bytes, size);
    if ((PyObject *)Py_TYPE(value) == writer->cid_type)
        return put_link(writer, value);
    return PyFloat_CheckExact(value) && put_float(writer, value);
}

/* encode_cbor(value, max_depth, max_items, cid_type): the one encoding of a value, or None. */
PyObject *encode_cbor(PyObject *module, PyObject *args)
{
    PyObject *value, *block = NULL;
    Writer writer = {.room = 512};
    (void)module;
    if (!PyArg_ParseTuple(args, "OnnO!", &value, &writer.depth, &writer.items, &PyType_Type, &writer.cid_type))
        return NULL;
    writer.bytes = PyMem_Malloc((size_t)writer.room);
    writer.binary = PyUnicode_InternFromString("_binary");
    if (!writer.bytes || !writer.binary)
        PyErr_NoMemory();
    else if (put_value(&writer, value))
        block = PyBytes_FromStringAndSize((const char *)writer.bytes, writer.size);
    PyMem_Free(writer.bytes);
    Py_XDECREF(writer.binary);
    if (block || (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError)))
        return block;
    PyErr_Clear(); /* text that is no UTF-8, an integer beyond 64 bits: it is encoded in Python once more, for the error */
    Py_RETURN_NONE;
}

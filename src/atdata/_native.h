/* What `_native.c`, `_native_tables.c` and `_native_cbor.c` share: one module. */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define BLOCK 512

PyObject *table_cells(PyObject *module, PyObject *args);
PyObject *count_empty(PyObject *module, PyObject *args);
PyObject *parse_cells(PyObject *module, PyObject *args);
PyObject *pack_columns(PyObject *module, PyObject *args);
PyObject *head_samples(PyObject *module, PyObject *args);
PyObject *decode_cbor(PyObject *module, PyObject *args);
PyObject *decode_node(PyObject *module, PyObject *args);
PyObject *encode_cbor(PyObject *module, PyObject *args);

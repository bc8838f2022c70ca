/* The same bytes to many sockets: the one loop of the gateway that grows with its viewers.
 *
 * `services/gateway/send_each.py` holds the same in Python, and says what it is for.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <unistd.h>

/* Adds (place, how many bytes were taken) to a list. */
static int note(PyObject *unsent, Py_ssize_t place, Py_ssize_t taken)
{
    PyObject *pair = Py_BuildValue("(nn)", place, taken);
    if (pair == NULL)
        return -1;
    int status = PyList_Append(unsent, pair);
    Py_DECREF(pair);
    return status;
}

static PyObject *send_each(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    (void)module;
    if (count != 2 || !PyList_Check(args[0]) || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "send_each takes a list of descriptors and bytes");
        return NULL;
    }
    const char *frame = PyBytes_AS_STRING(args[1]);
    const Py_ssize_t size = PyBytes_GET_SIZE(args[1]);
    PyObject *unsent = PyList_New(0);
    if (unsent == NULL)
        return NULL;
    for (Py_ssize_t place = 0; place < PyList_GET_SIZE(args[0]); place++) {
        const long descriptor = PyLong_AsLong(PyList_GET_ITEM(args[0], place));
        if (descriptor == -1 && PyErr_Occurred())
            goto failed;
        ssize_t taken = write((int)descriptor, frame, (size_t)size);
        if (taken == size)
            continue;
        if (taken < 0)
            taken = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
        if (note(unsent, place, taken) < 0)
            goto failed;
    }
    return unsent;
failed:
    Py_DECREF(unsent);
    return NULL;
}

static PyMethodDef methods[] = {
    {"send_each", (PyCFunction)(void (*)(void))send_each, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_send_each", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__send_each(void) { return PyModule_Create(&definition); }

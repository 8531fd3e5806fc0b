#ifndef RDO_CLINUX_H
#define RDO_CLINUX_H
#include "disk.h"
#include "drive.h"
#include "linux_system.h"
#include "tls.h"
#endif

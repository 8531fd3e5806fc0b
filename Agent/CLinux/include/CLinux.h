#ifndef RDO_CLINUX_H
#define RDO_CLINUX_H
#endif

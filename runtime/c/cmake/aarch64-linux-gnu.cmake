# Cross-build for 64-bit ARM Linux; tests run on an emulated Cortex-A72 where qemu-user is installed.
# Debian: dpkg --add-architecture arm64; apt install g++-aarch64-linux-gnu qemu-user zlib1g-dev:arm64
#
# -DSHARCS_SYSROOT=FOLDER: the root of an arm64 system that programs find their libraries in, instead of the host's arm64
# packages. ONNX Runtime 1.31 and newer needs one, with a plain file proc/cpuinfo that describes an ARM core: without it,
# it reads the host's and crashes in qemu 7.2.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
find_program(QEMU_AARCH64 qemu-aarch64)
if(QEMU_AARCH64 AND SHARCS_SYSROOT)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${QEMU_AARCH64};-cpu;cortex-a72;-L;${SHARCS_SYSROOT})
elseif(QEMU_AARCH64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${QEMU_AARCH64};-cpu;cortex-a72;-L;/usr/aarch64-linux-gnu;-E;LD_LIBRARY_PATH=/usr/lib/aarch64-linux-gnu)
endif()

# The few CMake helpers of the house: one library per folder, its link test, its tests, its registry.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
if(NOT CMAKE_BUILD_TYPE)
    set(CMAKE_BUILD_TYPE Release)
endif()
find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

# Every target gets these; -ffp-contract=off is part of the arithmetic contract (docs/arithmetic.md).
add_library(potluck_flags INTERFACE)
target_compile_options(potluck_flags INTERFACE
    -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wnon-virtual-dtor
    -Wno-missing-field-initializers  # designated initialisers leave the rest at their defaults on purpose
    -ffp-contract=off -fno-math-errno)
# At -O3 GCC 12 sees overlapping copies in std::string that are not there (GCC bug 105651).
target_compile_options(potluck_flags INTERFACE
    $<$<AND:$<CXX_COMPILER_ID:GNU>,$<CONFIG:Release>>:-Wno-restrict>)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 sees these where they cannot be, in inlined standard containers and under sanitizers.
    target_compile_options(potluck_flags INTERFACE
        -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds -Wno-maybe-uninitialized
        -Wno-restrict)
endif()
if(POTLUCK_WERROR)
    target_compile_options(potluck_flags INTERFACE -Werror)
endif()
if(POTLUCK_SANITIZE)
    target_compile_options(potluck_flags INTERFACE
        -fsanitize=${POTLUCK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    target_link_options(potluck_flags INTERFACE -fsanitize=${POTLUCK_SANITIZE})
endif()
if(POTLUCK_FUZZ)
    target_compile_options(potluck_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_include_directories(potluck_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)

# Instruction-set files are recognised by name and get their flags file by file; everything else is
# compiled for the baseline of the platform, so that one binary runs everywhere.
function(potluck_isa_flags)
    foreach(source IN LISTS ARGN)
        if(source MATCHES "_avx512\\.cpp$")
            set(flags -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi
                -mfma -mf16c -mprefer-vector-width=512)
            set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${flags}")
        elseif(source MATCHES "_avx2\\.cpp$")
            set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma;-mf16c")
        endif()
    endforeach()
endfunction()

# potluck_library(NAME DEPS <folders' libraries> LIBS <third-party targets>)
# One static library from every .cpp of the calling folder, linked PRIVATE, with a link test: the whole
# archive must link with nothing but what it declares.
function(potluck_library name)
    cmake_parse_arguments(arg "" "" "DEPS;LIBS;SOURCES" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
    list(APPEND sources ${arg_SOURCES})
    if(NOT sources)
        add_library(potluck_${name} INTERFACE)
        return()
    endif()
    potluck_isa_flags(${sources})
    add_library(potluck_${name} STATIC ${sources})
    list(TRANSFORM arg_DEPS PREPEND potluck_)
    target_link_libraries(potluck_${name} PRIVATE potluck_flags ${arg_DEPS} ${arg_LIBS})
    if(POTLUCK_TESTS AND NOT POTLUCK_FUZZ)
        add_executable(link_${name} ${CMAKE_SOURCE_DIR}/cmake/link_test.cpp)
        target_link_libraries(link_${name} PRIVATE potluck_flags
            -Wl,--whole-archive potluck_${name} -Wl,--no-whole-archive)
        set_target_properties(link_${name} PROPERTIES
            RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/link_tests)
        add_test(NAME link.${name} COMMAND link_${name})
    endif()
endfunction()

# All tests with label "unit", and all fuzz programs, for builds that want nothing else.
add_custom_target(unit_tests)
add_custom_target(fuzz_targets)

# potluck_test(NAME FOLDER <folder of .cpp files> DEPS <libraries> LIBS <third-party> LABEL <label>)
function(potluck_test name)
    cmake_parse_arguments(arg "" "FOLDER;LABEL;TIMEOUT" "DEPS;LIBS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${arg_FOLDER}/*.cpp)
    if(NOT sources)
        return()
    endif()
    if(NOT arg_LABEL)
        set(arg_LABEL unit)
    endif()
    if(NOT arg_TIMEOUT)
        set(arg_TIMEOUT 120)
    endif()
    add_executable(${name}_test ${sources})
    list(TRANSFORM arg_DEPS PREPEND potluck_)
    target_link_libraries(${name}_test PRIVATE
        potluck_flags ${arg_DEPS} ${arg_LIBS} GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE
        POTLUCK_SOURCE_DIR="${CMAKE_SOURCE_DIR}" POTLUCK_BINARY_DIR="${CMAKE_BINARY_DIR}")
    if(arg_LABEL STREQUAL "unit")
        add_dependencies(unit_tests ${name}_test)
    endif()
    # Real processes measure time and want the machine to themselves.
    string(COMPARE EQUAL ${arg_LABEL} integration serial)
    gtest_discover_tests(${name}_test TEST_PREFIX "${name}." DISCOVERY_MODE PRE_TEST
        PROPERTIES LABELS ${arg_LABEL} TIMEOUT ${arg_TIMEOUT} RUN_SERIAL ${serial}
        SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
endfunction()

# potluck_test_module(NAME FOLDER <folder of .cpp files>): a library that tests load while they run.
function(potluck_test_module name)
    cmake_parse_arguments(arg "" "FOLDER" "" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${arg_FOLDER}/*.cpp)
    add_library(${name} MODULE ${sources})
    target_link_libraries(${name} PRIVATE potluck_flags)
endfunction()

# potluck_fuzz(NAME SOURCE <file> DEPS <libraries> LIBS <third-party>): a libFuzzer program.
function(potluck_fuzz name)
    cmake_parse_arguments(arg "" "SOURCE" "DEPS;LIBS" ${ARGN})
    if(NOT POTLUCK_FUZZ)
        return()
    endif()
    add_executable(fuzz_${name} ${arg_SOURCE})
    list(TRANSFORM arg_DEPS PREPEND potluck_)
    target_link_libraries(fuzz_${name} PRIVATE potluck_flags ${arg_DEPS} ${arg_LIBS} -fsanitize=fuzzer)
    add_dependencies(fuzz_targets fuzz_${name})
endfunction()

# potluck_registry(OUTVAR NAMESPACE <ns> HEADER <header> TYPE <type> FUNCTION <name> [FOLDER <folder>])
# Lists the .cpp files of the calling folder, or of one in it, and writes a source that defines
#   std::span<const TYPE* const> NAMESPACE::FUNCTION()
# calling `const TYPE& NAMESPACE::<file>()` of each: a new file is the whole registration.
function(potluck_registry outvar)
    cmake_parse_arguments(arg "" "NAMESPACE;HEADER;TYPE;FUNCTION;FOLDER" "" ${ARGN})
    file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${arg_FOLDER}/*.cpp)
    set(declarations "")
    set(entries "")
    foreach(file IN LISTS files)
        get_filename_component(stem ${file} NAME_WE)
        string(APPEND declarations "const ${arg_TYPE}& ${stem}();\n")
        string(APPEND entries "        &${stem}(),\n")
    endforeach()
    set(out ${CMAKE_CURRENT_BINARY_DIR}/${arg_FUNCTION}_registry.cpp)
    file(CONFIGURE OUTPUT ${out} CONTENT
"// Generated by cmake/potluck.cmake from the files of this folder.
#include \"${arg_HEADER}\"

#include <array>

namespace ${arg_NAMESPACE} {

${declarations}
std::span<const ${arg_TYPE}* const> ${arg_FUNCTION}() {
    static const auto entries = std::to_array<const ${arg_TYPE}*>({
${entries}    });
    return entries;
}

}  // namespace ${arg_NAMESPACE}
")
    set(${outvar} ${out} PARENT_SCOPE)
endfunction()

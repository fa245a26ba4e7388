"""The repository checks find what they are for. Each test writes a small tree and looks for breaches."""
import sys
import tempfile
import unittest
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOOLS))

import check_includes  # noqa: E402
import check_text  # noqa: E402

TABLE = """
[may_use]
"base" = []
"engine" = ["base"]
"worker/core" = ["base", "engine"]
"coordinator/core" = ["base"]
"kernels/cpu" = ["base"]
"tests" = ["*"]
"""


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def assert_breach(self, breaches, text):
        self.assertTrue(any(text in str(breach) for breach in breaches), [str(b) for b in breaches])


class Includes(Tree):
    def setUp(self):
        super().setUp()
        real = (TOOLS / "layers.toml").read_text(encoding="utf-8")
        self.table = TABLE + real[real.index("\n[[rule]]"):]
        self.write("base/ids.h", "#pragma once\n")

    def check(self):
        table = self.root / "layers.toml"
        table.write_text(self.table, encoding="utf-8")
        return check_includes.check(self.root, table)

    def test_what_the_table_allows_passes(self):
        self.write("engine/shard.h", '#pragma once\n#include <vector>\n#include "base/ids.h"\n')
        self.write("worker/core/stage.cpp", '#include "engine/shard.h"\n#include "base/ids.h"\n')
        self.write("worker/core/CMakeLists.txt", "potluck_library(worker_core DEPS base engine LIBS x::y)\n")
        self.assertEqual(self.check(), [])

    def test_a_text_that_sources_share(self):
        self.write("kernels/cpu/rows.inc", '#include "base/ids.h"\n')
        self.write("kernels/cpu/rows_avx2.cpp", '#include "kernels/cpu/rows.inc"\n')
        self.assertEqual(self.check(), [])
        self.write("kernels/cpu/rows.inc", '#include "engine/shard.h"\n')
        self.write("engine/shard.h", "#pragma once\n")
        self.assert_breach(self.check(), "kernels/cpu/rows.inc:1: [wall] kernels/cpu may not use engine")

    def test_an_arrow_that_points_up(self):
        self.write("engine/shard.h", "#pragma once\n")
        self.write("base/result.h", '#include "engine/shard.h"\n')
        self.assert_breach(self.check(), "base/result.h:1: [wall] base may not use engine")

    def test_coordinator_and_worker_even_if_the_table_says_so(self):
        self.table = self.table.replace('"coordinator/core" = ["base"]',
                                        '"coordinator/core" = ["base", "worker/core"]')
        self.assert_breach(self.check(), "coordinator and worker never use one another")

    def test_a_cycle_in_the_table(self):
        self.table = self.table.replace('"base" = []', '"base" = ["engine"]')
        self.assert_breach(self.check(), "[table] cycle: base -> engine -> base")

    def test_headers_that_include_one_another(self):
        self.write("engine/a.h", '#include "engine/b.h"\n')
        self.write("engine/b.h", '#include "engine/a.h"\n')
        self.assert_breach(self.check(), "engine/a.h -> engine/b.h -> engine/a.h")

    def test_a_folder_that_is_not_listed(self):
        self.write("extra/a.h", "#pragma once\n")
        self.assert_breach(self.check(), "extra/a.h:1: [folder]")

    def test_an_include_beside_the_file(self):
        self.write("engine/a.h", '#include "b.h"\n')
        self.write("engine/b.h", "")
        self.assert_breach(self.check(), 'engine/a.h:1: [include] "b.h" is no file of ours')

    def test_a_helper_beside_a_test(self):
        self.write("tests/unit/a/a_test.cpp", '#include "fixture.h"\n')
        self.write("tests/unit/a/fixture.h", "#pragma once\n")
        self.assertEqual(self.check(), [])
        self.write("tests/unit/b/b_test.cpp", '#include "fixture.h"\n')
        self.assert_breach(self.check(), "tests/unit/b/b_test.cpp:1: [include]")

    def test_one_of_ours_in_angle_brackets(self):
        self.write("engine/a.h", "#include <base/ids.h>\n")
        self.assert_breach(self.check(), "<base/ids.h> is ours")

    def test_a_link_beyond_the_wall(self):
        self.write("worker/core/CMakeLists.txt",
                   "potluck_library(worker_core\n    DEPS base coordinator_core LIBS x::y)\n")
        self.assert_breach(self.check(), "worker/core may not link coordinator_core")

    def test_asio_in_a_core(self):
        self.write("worker/core/stage.h", "\n#include <boost/asio/ip/tcp.hpp>\n")
        self.assert_breach(self.check(), "worker/core/stage.h:2: [pure-core]")

    def test_a_clock_in_a_core(self):
        self.write("worker/core/stage.cpp", "auto t = std::chrono::steady_clock::now();\n")
        self.assert_breach(self.check(), "worker/core/stage.cpp:1: [pure-core]")

    def test_locks(self):
        self.write("engine/a.h", "#include <mutex>\nstd::mutex m;\n")
        self.write("base/bounded_queue.h", "#include <mutex>\nstd::mutex m;\n")
        self.write("tests/a.cpp", "#include <mutex>\n")
        found = [(breach.file, breach.line) for breach in self.check()]
        self.assertEqual(found, [("engine/a.h", 1), ("engine/a.h", 2)])

    def test_libm(self):
        for call in ("std::exp(x)", "expf(x)", "::tanh(x)", "a + pow (x, 2)", "std::log2(x)"):
            self.write("kernels/cpu/a.cpp", f"float y = {call};\n")
            self.assert_breach(self.check(), "kernels/cpu/a.cpp:1: [libm]")
        for call in ("portable_exp(x)", "std::fma(a, b, c)", "std::sqrt(x)", "_mm512_exp_x(x)",
                     "own::exp(x)", "table.log(x)"):
            self.write("kernels/cpu/a.cpp", f"float y = {call};\n")
            self.assertEqual(self.check(), [], call)

    def test_comments_and_strings_are_not_code(self):
        self.write("kernels/cpu/a.cpp", '// exp(x)\n/* throw\n exp(x) */ auto s = "exp(x)";\n'
                                        "auto n = 1'000'000; auto q = '\"'; // new Foo\n"
                                        'auto r = R"(throw "exp(x))";\n// #include "nothing.h"\n')
        self.assertEqual(self.check(), [])

    def test_throw_and_new(self):
        self.write("engine/a.cpp", "void f() {\n    throw 1;\n}\nauto* p = new Foo;\nFoo(Foo&&) = delete;\n"
                                   "void g() noexcept;\nvoid* q = ::operator new(3);\n"
                                   "return std::unique_ptr<Foo>(new Foo(1));\n"
                                   "return std::unique_ptr<Foo>(\n    new Foo(1));\n")
        found = [(breach.line, breach.rule) for breach in self.check()]
        self.assertEqual(found, [(2, "no-throw"), (4, "raw-new")])


class Text(Tree):
    def check(self):
        return check_text.check(self.root)

    def test_a_clean_tree(self):
        self.write("base/ids.h", "// Ids.\n\n#pragma once\n\nint x;\n")
        self.write("docs/a.md", "See [ids](../base/ids.h#x) and [the web](https://example.org).\n")
        self.assertEqual(self.check(), [])

    def test_no_pragma_once(self):
        self.write("base/ids.h", "int x;\n")
        self.assert_breach(self.check(), "base/ids.h:1: [header]")

    def test_lines(self):
        self.write("base/a.cpp", "// " + "x" * 120 + "\nint a; \n\tint b;")
        rules = {breach.rule for breach in self.check()}
        self.assertEqual(rules, {"columns", "space", "tab"})

    def test_length_and_its_ratchet(self):
        self.write("base/a.cpp", "int x;\n" * 601)
        self.assert_breach(self.check(), "[length] 601 lines > 600")
        self.write("tools/long_files.txt", "601 base/a.cpp\n")
        self.assertEqual(self.check(), [])
        self.write("base/a.cpp", "int x;\n" * 602)
        self.assert_breach(self.check(), "602 lines > 601")
        self.write("base/a.cpp", "int x;\n" * 500)
        self.assert_breach(self.check(), "is now 500 lines")

    def test_generated_files_may_be_long(self):
        self.write("base/a.cpp", "// Generated by a tool.\n" + "int x;\n" * 601)
        self.assertEqual(self.check(), [])

    def test_words(self):
        for text in ("TO" + "DO: later", "see https://py" + "pi.org/x", "/wo" + "rk/main/x"):
            self.write("docs/a.md", text + "\n")
            self.assert_breach(self.check(), "docs/a.md:1: [words]")

    def test_a_dead_link(self):
        self.write("docs/a.md", "\n[x](b.md)\n")
        self.assert_breach(self.check(), "docs/a.md:2: [link] b.md is not there")

    def test_a_path_that_is_not_there(self):
        self.write("base/ids.h", "#pragma once\n")
        self.write("docs/a.md", "`base/ids.h` `base/` `1/0` `other/x.h`\n`base/gone.h`\n")
        self.assertEqual([str(breach) for breach in self.check()],
                         ["docs/a.md:2: [path] base/gone.h is not there"])

    def test_a_command_that_is_not_there(self):
        self.write("README.md", "```sh\ntools/nothing.sh --fast\n```\n")
        self.assert_breach(self.check(), "README.md:2: [command] tools/nothing.sh is not there")

    def test_unregistered_and_empty_test_folders(self):
        self.write("tests/CMakeLists.txt", "potluck_test(a FOLDER unit/a DEPS base)\n"
                                           "potluck_test(b FOLDER unit/b)\n")
        self.write("tests/unit/a/a.cpp", "")
        self.write("tests/unit/c/c.cpp", "")
        self.write("tests/fuzz/d.cpp", "")
        breaches = self.check()
        self.assert_breach(breaches, "tests/unit/c is built by no potluck_test")
        self.assert_breach(breaches, "tests/unit/b is registered but has no .cpp file")
        self.assert_breach(breaches, "tests/fuzz/d.cpp:1: [tests] is built by no potluck_fuzz")
        self.assertEqual(len(breaches), 3)


if __name__ == "__main__":
    unittest.main()

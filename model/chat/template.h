#pragma once

// Chat templates: the Jinja that GGUF files carry in `tokenizer.chat_template`, interpreted.
// Semantics follow Jinja 3.1 as the Hugging Face `transformers` library configures it (trim_blocks,
// lstrip_blocks, its own `tojson`, `raise_exception`, `strftime_now`, the immutable sandbox).

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "base/result.h"

namespace potluck::model::chat {

/// Rendered text remembers which parts came from the request's values: those must not be able to
/// form control tokens (see TextPiece in model/tokenizer).
struct RenderedPiece {
    std::string text;
    bool from_input = false;
};
struct Rendered {
    std::vector<RenderedPiece> pieces;  ///< adjacent pieces differ in `from_input`; none is empty
    std::string text() const;
};

/// Bounds of one rendering. The defaults leave room for conversations of several MB.
struct RenderLimits {
    /// One unit per byte made or walked, more for bytes that cost more, 64 per value in a
    /// container, 50 per evaluated node of the template. Bounds time (a second or two at worst)
    /// and memory (a unit is a byte, roughly).
    std::uint64_t work = std::uint64_t{256} << 20U;
    std::size_t output_bytes = std::size_t{64} << 20U;
    std::size_t depth = 500;  ///< expressions, statements and macro calls inside each other
};

struct RenderOptions {
    /// The time that `strftime_now` shows, UTC. Rendering reads no clock: a template that asks for
    /// the time fails if the caller gave none.
    std::optional<std::chrono::sys_seconds> now;
    std::chrono::seconds utc_offset{0};  ///< of local time, added to `now`
    RenderLimits limits;
};

/// A parsed template. Immutable; safe to render from any thread. Steps, output size and recursion
/// of a rendering are bounded (templates come from untrusted files).
class Template {
  public:
    /// kCorrupt with line and column for a syntax error, kUnsupported naming the construct for
    /// Jinja that this interpreter does not know (statements, filters, tests, functions, methods),
    /// at load.
    static Result<Template> parse(std::string_view source);
    Template(Template&&) noexcept;
    Template& operator=(Template&&) noexcept;
    ~Template();

    /// `variables`: messages, add_generation_prompt, bos_token, … All strings inside `messages`,
    /// `tools` and `documents` count as input. kInvalidArgument if the template raises (with its
    /// own message) or the values do not fit it (a client's error), kResourceExhausted if a bound
    /// is reached.
    Result<Rendered> render(const boost::json::object& variables,
                            const RenderOptions& options = {}) const;

    struct Impl;

  private:
    explicit Template(std::unique_ptr<const Impl> impl);
    std::unique_ptr<const Impl> impl_;
};

/// The template used when a file has none but its vocabulary has <|im_start|> and <|im_end|>.
std::string_view chatml_template();

}  // namespace potluck::model::chat

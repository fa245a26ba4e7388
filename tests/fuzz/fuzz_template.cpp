// Parses a template and renders it for a fixed conversation: nothing may crash, leak or run away.

#include <cstdint>
#include <string_view>

#include <boost/json/parse.hpp>

#include "model/chat/template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace potluck::model::chat;
    static const boost::json::value variables = boost::json::parse(R"({
        "messages": [
            {"role": "system", "content": " Sé terse ☃ "},
            {"role": "user", "content": "<|im_end|>Hi\n"},
            {"role": "assistant", "content": "", "reasoning_content": "r", "tool_calls": [
                {"function": {"name": "f", "arguments": {"a": [1, 2.5, null], "b": true}}}]},
            {"role": "tool", "content": "ok"}],
        "tools": [{"function": {"name": "f", "parameters": {"properties": {}}}}],
        "add_generation_prompt": true, "bos_token": "<s>"})");
    const auto parsed = Template::parse({reinterpret_cast<const char*>(data), size});
    if (!parsed) return 0;
    RenderOptions options;
    options.now = std::chrono::sys_seconds(std::chrono::seconds(1'721'000'000));
    options.limits.work = 4U << 20U;
    options.limits.output_bytes = 1U << 20U;
    const auto rendered = parsed->render(variables.as_object(), options);
    if (!rendered) return 0;
    for (std::size_t i = 0; i < rendered->pieces.size(); ++i) {
        if (rendered->pieces[i].text.empty()) __builtin_trap();
        if (i > 0 && rendered->pieces[i - 1].from_input == rendered->pieces[i].from_input) {
            __builtin_trap();
        }
    }
    return 0;
}

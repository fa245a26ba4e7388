#include "model/chat/template.h"

#include <fmt/format.h>

#include <array>

#include "model/chat/jinja_json.h"
#include "model/chat/jinja_parser.h"
#include "model/chat/jinja_run.h"

namespace potluck::model::chat {

struct Template::Impl {
    jinja::ast::Body body;
};

namespace {

/// The variables that a client fills; everything else comes from the model's file or the operator.
bool is_input(std::string_view variable) {
    return variable == "messages" || variable == "tools" || variable == "documents";
}

Rendered to_pieces(const jinja::Text& text) {
    Rendered out;
    std::size_t done = 0;
    for (const jinja::Text::Span& span : text.input()) {
        if (done < span.begin) {
            out.pieces.push_back({text.bytes().substr(done, span.begin - done), false});
        }
        out.pieces.push_back({text.bytes().substr(span.begin, span.end - span.begin), true});
        done = span.end;
    }
    if (done < text.size()) out.pieces.push_back({text.bytes().substr(done), false});
    return out;
}

}  // namespace

std::string Rendered::text() const {
    std::string out;
    for (const RenderedPiece& piece : pieces)
        out += piece.text;
    return out;
}

Template::Template(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Result<Template> Template::parse(std::string_view source) {
    POTLUCK_ASSIGN(jinja::ast::Body body, jinja::parse_template(source));
    return Template(std::make_unique<const Impl>(Impl{std::move(body)}));
}

Result<Rendered> Template::render(const boost::json::object& variables,
                                  const RenderOptions& options) const {
    jinja::Dict names;
    for (const auto& entry : variables) {
        const std::string_view name(entry.key().data(), entry.key().size());
        POTLUCK_ASSIGN(jinja::Value value, jinja::from_json(entry.value(), is_input(name)));
        names.entries.emplace_back(jinja::Value::string(name), std::move(value));
    }
    jinja::Run run(names, options);
    POTLUCK_ASSIGN(const jinja::Text text, run.render(impl_->body));
    return to_pieces(text);
}

std::string_view chatml_template() {
    return "{%- for message in messages %}"
           "{{- '<|im_start|>' + message.role + '\\n' }}"
           "{%- if message.content is string %}"
           "{{- message.content }}"
           "{%- else %}"
           "{%- for part in message.content or [] %}"
           "{%- if part.type == 'text' %}{{- part.text }}{%- endif %}"
           "{%- endfor %}"
           "{%- endif %}"
           "{{- '<|im_end|>\\n' }}"
           "{%- endfor %}"
           "{%- if add_generation_prompt %}"
           "{{- '<|im_start|>assistant\\n' }}"
           "{%- endif %}";
}

}  // namespace potluck::model::chat

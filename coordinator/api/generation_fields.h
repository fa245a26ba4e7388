#pragma once

#include "coordinator/api/fields.h"
#include "coordinator/api/request.h"

namespace potluck::coordinator::api {

/// The fields that /v1/chat/completions and /v1/completions have in common; errors stay in
/// `reader`. `logprobs` differs between the two and is read by the caller.
GenerationFields read_generation_fields(FieldReader& reader);

/// `messages`, checked and brought into the form that templates want.
boost::json::array read_messages(FieldReader& reader);

}  // namespace potluck::coordinator::api

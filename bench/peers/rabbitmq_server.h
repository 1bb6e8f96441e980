// The one RabbitMQ server of this program: started when it is first needed, ends with it.
//
// SPDX-License-Identifier: BSL-1.0
#pragma once

#include <cstdint>
#include <string>

namespace shmbus::bench {

// Its port on the loopback interface. Throws std::runtime_error.
std::uint16_t running_rabbitmq();

// "RabbitMQ 3.10.8", or less where that is not to be seen.
std::string rabbitmq_version();

}  // namespace shmbus::bench

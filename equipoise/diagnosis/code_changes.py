"""Changes of a plain PyTorch training loop that symptoms recommend, each with the line that makes it.

The lines use short names: networks `d` and `g`, batches `real` and `fake` (B, C, H, W), latents `z`, `loss_d` and
`loss_g`, `optimizer_d` and `optimizer_g`, `step` of `total_steps`. `d` returns logits.
"""

from equipoise.diagnosis.symptom import CodeChange

QUARTER_LR_OF_D = CodeChange(
    "Multiply the discriminator's learning rate by 0.25 (2e-4 -> 5e-5)",
    'for group in optimizer_d.param_groups:\n    group["lr"] *= 0.25',
)
DOUBLE_LR_OF_D = CodeChange(
    "Multiply the discriminator's learning rate by 2 (1e-4 -> 2e-4)",
    'for group in optimizer_d.param_groups:\n    group["lr"] *= 2.0',
)
HALVE_LR_OF_G = CodeChange(
    "Multiply the generator's learning rate by 0.5 (2e-4 -> 1e-4)",
    'for group in optimizer_g.param_groups:\n    group["lr"] *= 0.5',
)
HALVE_BOTH_LRS = CodeChange(
    "Multiply both learning rates by 0.5 (2e-4 -> 1e-4)",
    'for group in optimizer_d.param_groups + optimizer_g.param_groups:\n    group["lr"] *= 0.5',
)
DECAY_BOTH_LRS = CodeChange(
    "Let both learning rates fall to 0 over the remaining epochs",
    "scheduler_g = torch.optim.lr_scheduler.LinearLR(optimizer_g, 1.0, 0.0, total_iters=epochs_left)\n"
    "scheduler_d = torch.optim.lr_scheduler.LinearLR(optimizer_d, 1.0, 0.0, total_iters=epochs_left)\n"
    "# at the end of each epoch: scheduler_g.step(); scheduler_d.step()",
)
LESS_MOMENTUM = CodeChange(
    "Reduce the momentum: Adam's beta1 from 0.5 (or 0.9) to 0",
    'for group in optimizer_d.param_groups + optimizer_g.param_groups:\n    group["betas"] = (0.0, group["betas"][1])',
)
AUGMENT = CodeChange(
    "Apply the same differentiable augmentation to reals and fakes, in the generator's update too (DiffAugment; the "
    "code is for images)",
    "def augment(x):\n"
    "    x = x + torch.rand(len(x), 1, 1, 1, device=x.device) - 0.5  # brightness\n"
    "    shift = torch.eye(2, 3, device=x.device).repeat(len(x), 1, 1)  # by up to 1/8 of the image\n"
    "    shift[:, :, 2] = torch.empty(len(x), 2, device=x.device).uniform_(-0.25, 0.25)\n"
    "    grid = torch.nn.functional.affine_grid(shift, list(x.shape), align_corners=False)\n"
    "    return torch.nn.functional.grid_sample(x, grid, align_corners=False)\n"
    "\n\n"
    "logit_real, logit_fake = d(augment(real)), d(augment(fake))",
)
ADD_R1 = CodeChange(
    "Add the R1 gradient penalty with gamma = 10 to the discriminator's loss (from 1 for small images; if it is there "
    "already, multiply gamma by 4)",
    "real.requires_grad_(True)\n"
    "(gradient,) = torch.autograd.grad(d(real).sum(), real, create_graph=True)\n"
    "loss_d = loss_d + 10.0 / 2 * gradient.square().flatten(1).sum(1).mean()",
)
GRADIENT_PENALTY = CodeChange(
    "For a Wasserstein critic: replace the clipping of its weights by a gradient penalty of weight 10",
    "mix = torch.rand(len(real), 1, 1, 1, device=real.device)\n"
    "between = (mix * real + (1 - mix) * fake.detach()).requires_grad_(True)\n"
    "(gradient,) = torch.autograd.grad(d(between).sum(), between, create_graph=True)\n"
    "loss_d = loss_d + 10.0 * (gradient.flatten(1).norm(dim=1) - 1).square().mean()",
)
SPECTRAL_NORM = CodeChange(
    "Limit the discriminator by spectral normalisation of its layers",
    "for layer in list(d.modules()):\n"
    "    if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):\n"
    "        torch.nn.utils.parametrizations.spectral_norm(layer)",
)
SMOOTH_LABELS = CodeChange(
    "Smooth the labels of reals from 1.0 to 0.9; it keeps D(x) below 1, but does not slow the discriminator down",
    "logit_real = d(real)\n"
    "label_real = torch.full_like(logit_real, 0.9)\n"
    "loss_real = torch.nn.functional.binary_cross_entropy_with_logits(logit_real, label_real)",
)
ADD_INSTANCE_NOISE = CodeChange(
    "Add noise of standard deviation 0.1 to reals and fakes, falling to 0 over the run",
    "sigma = 0.1 * (1 - step / total_steps)\n"
    "logit_real = d(real + sigma * torch.randn_like(real))\n"
    "logit_fake = d(fake + sigma * torch.randn_like(fake))",
)
BCE_WITH_LOGITS = CodeChange(
    "If the discriminator ends in a Sigmoid, compute its loss from logits instead: torch.nn.BCELoss clips the "
    "logarithm at 100, where the gradient is 0",
    "# remove torch.nn.Sigmoid from the end of d\n"
    "loss_g = torch.nn.functional.binary_cross_entropy_with_logits(d(fake), torch.ones_like(d(fake)))",
)
NON_SATURATING_LOSS = CodeChange(
    "Train the generator on -log D(G(z)) instead of log(1 - D(G(z)))",
    "loss_g = torch.nn.functional.softplus(-d(fake)).mean()  # d returns logits",
)
AVERAGE_WEIGHTS = CodeChange(
    "Sample from an average of the generator's weights (decay 0.999)",
    "g_ema = torch.optim.swa_utils.AveragedModel(\n"
    "    g, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.999), use_buffers=True\n"
    ")\n"
    "# after each step of optimizer_g: g_ema.update_parameters(g); sample from g_ema(z)",
)
CLIP_GRADIENTS = CodeChange(
    "Clip the norm of both gradients to 1.0 before each step of an optimizer",
    "torch.nn.utils.clip_grad_norm_(d.parameters(), 1.0)\ntorch.nn.utils.clip_grad_norm_(g.parameters(), 1.0)",
)
STOP_AT_NAN = CodeChange(
    "Stop at the first value that is not finite, and load the last checkpoint before it",
    "if not (torch.isfinite(loss_d) and torch.isfinite(loss_g)):\n"
    '    raise FloatingPointError(f"step {step}: loss_d {loss_d.item()}, loss_g {loss_g.item()}")',
)
FULL_PRECISION = CodeChange(
    "With mixed precision: compute losses and penalties in float32, and use bfloat16 instead of float16",
    "with torch.autocast(real.device.type, torch.bfloat16):\n    logit_real = d(real)\nlogit_real = logit_real.float()",
)
KEEP_BEST = CodeChange(
    "Keep the checkpoint of the best FID, and continue from it with one of the following changes",
    "if fid < best_fid:\n"
    "    best_fid = fid\n"
    '    torch.save({"g": g.state_dict(), "d": d.state_dict(), "step": step}, "best.pt")',
)
MORE_STEPS_OF_D = CodeChange(
    "Update the discriminator twice for each update of the generator (1 -> 2)",
    "for _ in range(2):\n"
    "    optimizer_d.zero_grad()\n"
    "    compute_loss_d(next(batches)).backward()\n"
    "    optimizer_d.step()",
)
MINIBATCH_DEVIATION = CodeChange(
    "Show the discriminator how much the samples of a batch differ (minibatch standard deviation, before its last "
    "layers)",
    "deviation = features.std(0, correction=0).mean().expand(len(features), 1, *features.shape[2:])\n"
    "features = torch.cat((features, deviation), 1)  # one more input channel in the next layer",
)
SCALE_REALS = CodeChange(
    "Scale the reals to the generator's range, [-1, 1] for tanh, from the range that they use (0 to 255 here)",
    "black, white = 0.0, 255.0\n"
    "real = (real.float() - black) / (white - black) * 2 - 1\n"
    "print(real.min().item(), real.max().item(), real.std().item())",
)
CHECK_GRADIENTS = CodeChange(
    "Check that the gradients reach the weights of the discriminator: no norm may be 0",
    "for name, parameter in d.named_parameters():\n"
    "    print(name, None if parameter.grad is None else parameter.grad.norm().item())",
)
CHECK_UPDATES = CodeChange(
    "Check that each update changes the weights of its network: the largest change must not be 0",
    "before = [parameter.detach().clone() for parameter in g.parameters()]\n"
    "loss_g.backward()\n"
    "optimizer_g.step()\n"
    "print(max((new - old).abs().max().item() for new, old in zip(g.parameters(), before)))  # then the same for d",
)
USUAL_RATES = CodeChange(
    "Set both optimizers to the usual values: Adam with a learning rate of 2e-4 and betas (0.5, 0.999)",
    "for group in optimizer_d.param_groups + optimizer_g.param_groups:\n    group.update(lr=2e-4, betas=(0.5, 0.999))",
)
LOOK_AT_SAMPLES = CodeChange(
    "Look at samples of the same latents over time, and stop if they are good enough",
    'torchvision.utils.save_image(g(fixed_z), f"samples_{step}.png", normalize=True)',
)
BALANCE_TERMS = CodeChange(
    "Weight the adversarial term so that its gradient at the samples is as large as that of the other term (the "
    "adaptive weight of VQGAN)",
    "fake = g(z)\n"
    "loss_other = (fake - real).abs().mean()  # the other term of your loss\n"
    "loss_adversarial = torch.nn.functional.softplus(-d(fake)).mean()\n"
    "(other,) = torch.autograd.grad(loss_other, fake, retain_graph=True)\n"
    "(adversarial,) = torch.autograd.grad(loss_adversarial, fake, retain_graph=True)\n"
    "loss_g = loss_other + other.norm() / adversarial.norm().clamp_min(1e-8) * loss_adversarial",
)
NEAREST_REALS = CodeChange(
    "Compare samples with their nearest training images before you use them",
    "nearest = torch.cdist(fake.flatten(1), training_images.flatten(1)).argmin(1)\n"
    "pairs = torch.cat((fake, training_images[nearest]), 3)  # save as images and look at them",
)
